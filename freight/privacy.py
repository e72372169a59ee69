"""File permissions: only DPA's user can read what it writes, unless `DPA_UMASK` says otherwise.

Warehouse, quarantine, log, report and spool hold the data, Prefect's folder holds keys. So each process that writes
sets its umask when it starts, and its child processes inherit it.
"""

import os

from freight.errors import ConfigurationError
from freight.settings import PRIVATE, load_umask


def keep_private() -> None:
    """Make the files of this process and its children private; `load_settings` reports a wrong setting."""
    try:
        umask = load_umask()
    except ConfigurationError:
        umask = PRIVATE
    os.umask(umask)
