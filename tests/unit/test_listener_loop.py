"""The loop of a listener overlaps its work: it waits for a commit only when the next micro-batch is made already."""

import pytest

from freight.streaming import listener
from freight.streaming.listener import ListenerLoop, ListenSettings
from freight.streaming.micro_batch import BatchLimits
from freight.streaming.session import new_listener
from freight.streaming.status import Status
from freight.types import RunId
from freight.warehouse.streams import Stream
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW
from tests.lib.memory_broker import Deferred, MemoryBroker, MemoryReader
from tests.lib.streams import event, rows

ROWS, BATCHES = 4, 5


def test_nothing_is_waited_for_that_could_be_made_meanwhile(
    sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "BACKPRESSURE_S", 0.001)
    broker = MemoryBroker(partitions=1)
    broker.produce(0, [(i, event(i)) for i in range(ROWS * BATCHES)])
    reader, thread = MemoryReader(broker), Deferred()
    loop = ListenerLoop(
        sqlite_warehouse.engine,
        Stream("transactions", "freight.transactions", "dpa"),
        new_listener(RunId("run")),
        reader,
        ListenSettings(BatchLimits(rows=ROWS, age_s=60)),
        Status(),
        lambda: NOW,
        thread,
    )
    made_while_waiting: list[bool] = []
    take = loop._commits.take

    def watched_take(timeout_s: float = 0.0) -> object:
        if timeout_s:
            made_while_waiting.append(loop._ready is not None)
        return take(timeout_s)

    monkeypatch.setattr(loop._commits, "take", watched_take)
    loop.join()
    reader.give([0])
    for _ in range(BATCHES):
        thread.holds = True
        for _ in range(8):
            loop.turn()
        thread.work()
    thread.holds = False
    for _ in range(8):
        loop.turn()
    assert set(made_while_waiting) == {True}
    loop.leave()
    assert rows(sqlite_warehouse.engine, "SELECT COUNT(*) FROM fact_transactions") == [(ROWS * BATCHES,)]
