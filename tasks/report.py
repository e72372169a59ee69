"""Writes and sends the report workbook."""

from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.mail_server import MailServer
from blocks.places import used
from freight.reports.written import report_or_reason
from freight.settings import load_settings
from tasks.load import RETRY, warehouse


@task(name="write-report", task_run_name="write-report", cache_policy=NO_CACHE)
def write_report(block: str | None, *, simulated: bool) -> Path | str:
    """Write the report of the warehouse; return its path, or the reason why there is none."""
    folder = load_settings().reports
    return report_or_reason(warehouse(block), folder, simulated=simulated, now=datetime.now(UTC))


@task(name="send", task_run_name="send", **RETRY)
def send(block: str, message: EmailMessage) -> None:
    """Send a message through the mail server of a block."""
    used(MailServer, block, lambda server: server.send(message))
