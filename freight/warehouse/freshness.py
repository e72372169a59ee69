"""The instant of the last load of each dataset that is expected to receive more."""

from datetime import datetime

import sqlalchemy as sa

from freight.warehouse.schema import batches, stream_listeners, stream_positions


def newest_loads(connection: sa.Connection) -> dict[str, datetime]:
    """Return when each dataset was last loaded; for a stream to within five minutes, while its batch grows.

    A topic counts unless its listeners have ended well: then no more data is expected. Simulated data never counts.
    """
    topics = set(connection.execute(sa.select(stream_positions.c.topic).distinct()).scalars())
    left = topics - _expected_topics(connection)
    query = (
        sa.select(batches.c.dataset, sa.func.max(batches.c.loaded_at))
        .where(batches.c.cause == "load", sa.not_(batches.c.simulated), batches.c.source.not_in(left))
        .group_by(batches.c.dataset)
    )
    return dict(connection.execute(query).tuples().all())


def _expected_topics(connection: sa.Connection) -> set[str]:
    """Return the topics whose last sign of life is not from a listener that ended well."""
    table = stream_listeners
    newest = sa.select(table.c.topic, sa.func.max(table.c.heartbeat_at).label("at")).group_by(table.c.topic).subquery()
    last = sa.select(table.c.topic).join(
        newest, (newest.c.topic == table.c.topic) & (newest.c.at == table.c.heartbeat_at)
    )
    return set(connection.execute(last.where(table.c.ended_at.is_(None) | (table.c.state != "completed"))).scalars())
