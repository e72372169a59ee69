"""Secrets: which signs they may hold, and how the words of others are told without them."""

import base64
import logging
import traceback
from urllib.parse import quote, quote_plus

import pytest

from freight.errors import ConfigurationError
from freight.secrets import HIDDEN, LEFT_OUT, accepted, redacted, secretly

SECRET = "cAnArY p@ss/w'or\\d é%41"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_line_end_behind_a_secret_is_left_out_and_told(line_end: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "freight"):
        assert accepted(f"{SECRET}{line_end}", "the key of the API") == SECRET
    assert caplog.messages == ["the key of the API ends with a line end, which is ignored: enter it again without one"]


@pytest.mark.parametrize(
    ("sign", "named"),
    [
        ("\0", "a NUL"),
        ("\t", "a tab"),
        ("\n", "a line end"),
        ("\r", "a carriage return"),
        ("\x1b", "a control character"),
        ("\x7f", "a DEL"),
        ("\x85", "a control character"),
        ("\u2028", "a line separator"),
        ("\u2029", "a paragraph separator"),
        ("\udc80", "half a character"),
    ],
)
def test_a_control_character_is_named_and_nothing_of_the_secret(sign: str, named: str) -> None:
    for secret in (f"cAn{sign}ArY", f"{sign}cAnArY", f"cAnArY{sign}x\n"):
        with pytest.raises(
            ConfigurationError, match=f"the key of the API has {named}.* in it: enter it again"
        ) as refused:
            accepted(secret, "the key of the API")
        assert "cAn" not in repr(refused.value)


def test_two_line_ends_are_no_slip() -> None:
    with pytest.raises(ConfigurationError, match="has a line end in it"):
        accepted("cAnArY\n\n", "the key")


def test_what_is_not_ascii_is_refused_only_where_it_cannot_be_sent() -> None:
    assert accepted("clé", "the key") == "clé"
    with pytest.raises(ConfigurationError, match="the key has a character that is not ASCII") as refused:
        accepted("clé", "the key", ascii_only=True)
    assert "cl" not in repr(refused.value).replace("ConfigurationError", "").replace("cannot", "")


FORMS = {
    "percent": quote(SECRET),
    "all by percent": quote(SECRET, safe=""),
    "a form": quote_plus(SECRET),
    "quotes": repr(SECRET),
    "ASCII": ascii(SECRET),
    "bytes": repr(SECRET.encode()),
    "a connection string": SECRET.replace("\\", "\\\\").replace("'", "\\'"),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "basic": base64.b64encode(f"dpa:{SECRET}".encode()).decode(),
    "basic, another user": base64.b64encode(f"corridor:{SECRET}".encode()).decode(),
    "SASL": base64.b64encode(f"\0dpa\0{SECRET}".encode()).decode(),
    "base64 of URLs": base64.urlsafe_b64encode(f"a:{SECRET}".encode()).decode(),
    "base64 by percent": quote(base64.b64encode(SECRET.encode()), safe=""),
    "a part of it": SECRET[3:15],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_whatever_form(form: str) -> None:
    assert redacted(f"bad password {FORMS[form]} for dpa", SECRET) == LEFT_OUT


def test_words_without_the_secret_are_told_as_they_are_and_with_it_by_stars() -> None:
    assert redacted("no pg_hba.conf entry for user dpa", SECRET, "") == "no pg_hba.conf entry for user dpa"
    assert redacted(f"the password {SECRET} is none", SECRET) == f"the password {HIDDEN} is none"
    assert redacted("authentication failed for user postgres", "postgres") == "authentication failed for user ***"


class DriverError(Exception):
    """What drivers raise: with a state, and words."""


def test_an_error_comes_without_the_secret_and_without_the_errors_behind_it() -> None:
    def connect() -> None:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise DriverError("28000", f"no: {SECRET}", 7) from error

    with pytest.raises(DriverError) as raised:
        secretly(connect, SECRET)
    assert raised.value.args == ("28000", f"no: {HIDDEN}", 7)
    assert raised.value.__cause__ is raised.value.__context__ is None
    assert "cAnArY" not in "".join(traceback.format_exception(raised.value))


def test_an_error_that_shows_nothing_stays_what_it_is() -> None:
    error = DriverError("28000", "no")

    def connect() -> None:
        raise error

    with pytest.raises(DriverError) as raised:
        secretly(connect, SECRET)
    assert raised.value is error


def test_what_cannot_be_encoded_is_told_without_the_text_that_the_error_keeps() -> None:
    with pytest.raises(ConfigurationError, match="a character that cannot be sent") as raised:
        secretly(lambda: SECRET.encode("ascii"), SECRET)
    assert "cAnArY" not in repr(raised.value)
