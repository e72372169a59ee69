"""Writes and sends the report workbook. A report that cannot be written never harms the load."""

from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.mail_server import MailServer
from blocks.places import used
from freight.errors import DpaError
from freight.reports.workbook import WORKBOOK_NAME, write_workbook
from freight.settings import load_settings
from tasks.load import RETRY, warehouse


@task(name="write-report", task_run_name="write-report", cache_policy=NO_CACHE)
def write_report(block: str | None, *, simulated: bool) -> Path | str:
    """Write the report of the warehouse; return its path, or the reason why there is none."""
    path = load_settings().reports / WORKBOOK_NAME
    try:
        return write_workbook(warehouse(block), path, simulated=simulated, now=datetime.now(UTC))
    except DpaError as error:
        get_run_logger().error("no report was written: %s", error)
        return f"not written: {error}"
    except Exception as error:  # the data is loaded and proved; an error in the report must not fail the run
        get_run_logger().exception("no report was written")
        return f"not written: {type(error).__name__}: {error}"


@task(name="send", task_run_name="send", **RETRY)
def send(block: str, message: EmailMessage) -> None:
    """Send a message through the mail server of a block."""
    used(MailServer, block, lambda server: server.send(message))
