"""The report by mail: a real SMTP server takes it, with TLS and a login."""

import ssl
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from openpyxl import load_workbook
from pydantic import SecretStr

from blocks.mail_server import MailServer
from flows.load_nightly import load_nightly
from flows.send_report import send_report
from freight.errors import ConfigurationError, TransientError
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.lib.certificates import write_certificates
from tests.lib.corridor import HEADER
from tests.lib.ports import free_port

PASSWORD = "canary p@ss"
READERS = ["chief@example.org", "analyst@example.org"]


class Postman:
    """Keeps what it is handed in; what it answers can be set."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
        return self.answer

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def check_login(_: SMTP, __: Session, ___: Envelope, ____: str, login: Any) -> AuthResult:
    good = isinstance(login, LoginPassword) and (login.login, login.password) == (b"dpa", PASSWORD.encode())
    return AuthResult(success=good, handled=good)


@pytest.fixture
def postman() -> Postman:
    return Postman()


@pytest.fixture
def server(postman: Postman, tmp_path: Path) -> Iterator[MailServer]:
    port = free_port()
    ca, key = tmp_path / "ca.pem", tmp_path / "server.pem"
    write_certificates(ca, key)
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(key)
    controller = Controller(
        postman,
        hostname="127.0.0.1",
        port=port,
        tls_context=trust,
        require_starttls=True,
        authenticator=check_login,
        auth_required=True,
    )
    controller.start()
    yield MailServer(
        host="127.0.0.1",
        port=port,
        username="dpa",
        password=SecretStr(PASSWORD),
        sender="dpa@example.org",
        ca_location=str(ca),
    )
    controller.stop()


@pytest.fixture
def _loaded(home: Path) -> None:
    (home / "catalog.yaml").write_text(
        "sources: [{name: mine, dataset: transactions, reader: csv, location: '*.csv'}]", encoding="utf-8"
    )
    (home / "mine_20260315.csv").write_text(f"{HEADER}\nTRX-1,MCH-001,2026-03-14 10:00:00,30,OK\n", encoding="utf-8")
    migrate(steps.warehouse())
    assert load_nightly(return_state=True).is_completed()


@pytest.mark.usefixtures("_loaded")
def test_the_workbook_arrives_and_the_password_is_nowhere(
    server: MailServer, postman: Postman, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.save("reports", overwrite=True)
    state = send_report(READERS, return_state=True)
    assert state.is_completed(), state.message
    (message,) = postman.messages
    assert (message["From"], message["To"]) == ("dpa@example.org", ", ".join(READERS))
    (workbook,) = message.iter_attachments()
    assert workbook.get_filename() == "supply_chain_report.xlsx"
    assert "Summary" in load_workbook(BytesIO(workbook.get_content())).sheetnames
    told = capsys.readouterr()
    log = (home / "logs" / "dpa.log").read_text(encoding="utf-8")
    assert PASSWORD not in f"{told.out}{told.err}{log}{state.message}{server!r}{server}"


@pytest.mark.usefixtures("_loaded")
def test_a_report_that_cannot_be_sent_fails_with_the_reason(server: MailServer, postman: Postman) -> None:
    assert "there is no Mail Server block 'nowhere'" in str(send_report(READERS, "nowhere", return_state=True).message)
    assert "set the parameter recipients" in str(send_report([], return_state=True).message)
    more = send_report(["chief@example.org\nBcc: thief@example.org"], return_state=True)
    assert "the parameter recipients of the deployment is not a list of addresses" in str(more.message)
    assert postman.messages == []
    server.save("refusing", overwrite=True)
    postman.answer = "554 we take no attachments"
    state = send_report(READERS, "refusing", return_state=True)
    assert state.is_failed()
    assert "says 554: we take no attachments" in str(state.message)


def test_what_may_work_another_time_is_told_from_what_will_not(server: MailServer, postman: Postman) -> None:
    message = EmailMessage()
    message["To"] = "nobody@example.org"
    with pytest.raises(ConfigurationError, match=r"accepts no mail for nobody@example\.org"):
        server.send(message)
    message.replace_header("To", "nobody@example.org, chief@example.org")
    with pytest.raises(ConfigurationError, match=r"accepts no mail for nobody@example\.org; the others have received"):
        server.send(message)
    message.replace_header("To", "chief@example.org")
    with pytest.raises(ConfigurationError, match=r"535"):
        server.model_copy(update={"password": SecretStr("wrong")}).send(message)
    with pytest.raises(ConfigurationError, match="cannot be trusted"):
        server.model_copy(update={"ca_location": None}).send(message)
    with pytest.raises(TransientError, match="does not answer"):
        server.model_copy(update={"port": 1}).send(message)
    postman.answer = "451 come again"
    with pytest.raises(TransientError, match="says 451: come again"):
        server.send(message)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"username": "dpa"}, "needs a username and a password"),
        ({"username": "dpa", "password": PASSWORD, "security": "NONE"}, "would show the password"),
        ({"username": "dpa", "password": PASSWORD, "password_secret": "vault"}, "has one password"),
    ],
)
def test_a_server_that_cannot_work_is_refused_without_showing_the_password(fields: dict[str, Any], told: str) -> None:
    if "password_secret" in fields:
        fields["password_secret"] = {"vault": {"url": "https://corridor.vault.azure.net"}, "name": "mail"}
    with pytest.raises(ConfigurationError, match=told) as raised:
        MailServer(host="smtp.example.org", sender="dpa@example.org", **fields)
    assert PASSWORD not in str(raised.value)
