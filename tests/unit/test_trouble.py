"""A trouble is logged when it begins and when it is over, however often it shows meanwhile."""

import logging

import pytest

from freight.streaming.password import Redactor
from freight.streaming.trouble import Trouble


class ManualClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "freight")
    caplog.set_level(logging.INFO, "librdkafka")
    return caplog


def test_a_cause_is_logged_once_until_it_is_over(lines: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("it reads on")
    for number in range(100):
        trouble.note(f"refused after {number} ms")
        trouble.note("not resolved")
    trouble.over()
    trouble.over()
    trouble.note("refused after 7 ms")
    assert lines.messages == ["refused after 0 ms", "not resolved", "it reads on", "refused after 7 ms"]


def test_a_trouble_that_comes_and_goes_is_over_once_it_is_quiet(lines: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    trouble = Trouble("all well", quiet_s=30, clock=clock)
    for _ in range(10):  # one of three brokers is away while the others answer
        trouble.note("refused", cause="away")
        clock.now += 10
        trouble.over()
    clock.now += 20
    trouble.over()
    assert lines.messages == ["refused", "all well"]


def test_the_client_does_not_log_each_failed_connection(lines: pytest.LogCaptureFixture) -> None:
    client = Redactor("")
    client.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#consumer-1", "Connect to 127.0.0.1:1 failed")
    client.log(logging.WARNING, "%s [%s] %s", "CONFWARN", "rdkafka#consumer-1", "a property is deprecated")
    assert lines.messages == ["CONFWARN [rdkafka#consumer-1] a property is deprecated"]


def test_the_driver_of_postgresql_does_not_repeat_an_error(lines: pytest.LogCaptureFixture) -> None:
    import freight.databases  # noqa: F401

    logging.getLogger("psycopg").warning("error ignored exiting %r: %s", "pipeline", "No space left on device")
    logging.getLogger("psycopg").warning("unknown PostgreSQL timezone: %r; will use UTC", "Mars")
    assert lines.messages == ["unknown PostgreSQL timezone: 'Mars'; will use UTC"]
