"""What a listener tells of its commits."""

from freight.streaming.status import Status
from freight.types import LoadCounts


def test_the_time_of_commits_is_the_usual_one_or_that_of_the_one_under_way_if_it_is_longer() -> None:
    status = Status()
    assert status.now().commit_s is None
    for took_s in (0.1, 0.2, 9.0):
        status.committed(LoadCounts(read=1, inserted=1), 0, 0, took_s)
    assert status.now().commit_s == 0.2
    status.polled(0.15)
    assert status.now().commit_s == 0.2
    status.polled(3.5)
    assert status.now().commit_s == 3.5
