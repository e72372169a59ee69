"""Names that people type: a source that neither the catalog nor the ledger knows is a mistake, not an empty answer."""

from freight.catalog import read_catalog
from freight.errors import ConfigurationError
from freight.settings import Settings
from freight.warehouse.connect import Engine, reading
from freight.warehouse.ledger import is_known_source


def refuse_unknown_source(settings: Settings, engine: Engine, name: str | None) -> None:
    """Refuse the name of a source or of a topic that nobody knows; None stands for all."""
    if name is None:
        return
    known = [source.name for source in read_catalog(settings.catalog).sources]
    if name in known:
        return
    with reading(engine) as connection:
        if not is_known_source(connection, name):
            raise ConfigurationError(f"there is no source or topic {name!r}: the catalog has {', '.join(known)}")
