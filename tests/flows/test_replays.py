"""The replay flows on a real Prefect server and a real Kafka."""

import pytest
import sqlalchemy as sa

from flows.replay_quarantine import replay_quarantine
from flows.replay_range import replay_range
from freight.care.reconcile import reconcile
from freight.contracts import contracts
from tasks import load as steps
from tests.flows.conftest import NewTopic
from tests.lib.streams import event, rows


@pytest.fixture
def topic(topic_of: NewTopic) -> str:
    """A topic that has been read; of 200 messages 20 have a status that nobody knew yet."""
    return topic_of([event(i, status_code="HALT" if i % 10 == 0 else "OK") for i in range(200)])


def test_quarantined_messages_come_back_once(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    column = next(column for column in contracts()["transactions"].columns if column.name == "status_code")
    monkeypatch.setitem(column.__dict__, "allowed", (*column.allowed, "HALT"))
    for told in ("20 rows replayed, 0 still in quarantine", "0 rows replayed, 0 still in quarantine"):
        state = replay_quarantine(source=topic, return_state=True)
        assert state.is_completed()
        assert str(state.message).splitlines()[0] == told
    assert rows(steps.warehouse(), "SELECT COUNT(*) FROM fact_transactions") == [(200,)]
    assert reconcile(steps.warehouse()) == []


def test_a_span_comes_back_once(topic: str) -> None:
    state = replay_range(topic=topic, from_offset=50, until_offset=150, return_state=True)
    assert state.is_completed()
    assert str(state.message).startswith("read 90, inserted 0, updated 0, unchanged 90,")
    assert rows(steps.warehouse(), "SELECT next_offset FROM stream_positions") == [(200,)]
    assert reconcile(steps.warehouse()) == []


def test_what_cannot_be_replayed_is_told_in_a_line(topic: str) -> None:
    for state in (
        replay_range(topic=topic, from_offset=100, until_offset=900, return_state=True),
        replay_range(topic=topic, kafka="nowhere", return_state=True),
        replay_quarantine(source="nothing", return_state=True),
    ):
        assert state.is_failed()
        assert "\n" not in str(state.message)
    with steps.warehouse().connect() as connection:
        outcomes = connection.execute(sa.text("SELECT DISTINCT outcome FROM runs WHERE ended_at IS NOT NULL")).scalars()
        assert set(outcomes) == {"completed", "failed"}
