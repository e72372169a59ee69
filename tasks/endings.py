"""The start and end of a flow: it opens the log, turns a `DpaError` into a failed run, and leaves a whole warehouse."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect import State
from prefect.states import Failed

from freight.errors import DpaError
from freight.settings import load_settings
from freight.warehouse.whole import leave_whole
from tasks.log import log_run

log = logging.getLogger("freight")


def ends_in_words[**P](work: Callable[P, State[Any]]) -> Callable[P, State[Any]]:
    """Return the work of a flow, logged; a `DpaError` ends it as Failed, with the error as its message and result.

    However it ends, an embedded warehouse is one whole file afterwards, or the log says why not.

    Put it below `@flow`, which then sees the parameters of the work.
    """

    @wraps(work)
    def in_words(*args: P.args, **kwargs: P.kwargs) -> State[Any]:
        try:
            log_run(load_settings().logs)
            return work(*args, **kwargs)
        except DpaError as error:  # its message says what to do; a traceback would only hide it
            return Failed(message=str(error), data=error)
        finally:
            for note in leave_whole():
                log.warning(note)

    return in_words
