"""Write the current report and send it by mail."""

from email.message import EmailMessage
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from freight.catalog import read_catalog
from freight.errors import ConfigurationError
from freight.settings import load_settings
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.report import send, write_report
from tasks.run_names import dated

SUBTYPE = "vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@told
@flow(name="send-report", flow_run_name=dated("send-report"))
@ends_in_words
def send_report(
    recipients: list[str],
    mail_server: str = "reports",
    warehouse: str | None = None,
) -> State[Any]:
    """Send the supply chain report.

    Args:
        recipients: The mail addresses; each recipient sees the others.
        mail_server: The name of a Mail Server block.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed when the server has accepted the mail, else Failed with the reason.
    """
    here = load_settings()
    if not recipients:
        raise ConfigurationError("the report has no recipients: set the parameter recipients of the deployment")
    written = write_report(warehouse, simulated=read_catalog(here.catalog).simulated)
    if isinstance(written, str):
        return Failed(message=f"the report was {written}")
    send(mail_server, _mail(recipients, written))
    return Completed(message=f"{written.name} sent to {', '.join(recipients)}")


def _mail(recipients: list[str], workbook: Path) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Supply chain report"
    try:
        message["To"] = ", ".join(recipients)
    except ValueError as error:  # a line end would start another header
        raise ConfigurationError(
            f"the parameter recipients of the deployment is not a list of addresses: {error}"
        ) from None
    message.set_content(
        "The supply chain report is attached. Its first sheet sums up the period, and says if the data is simulated.\n"
    )
    message.add_attachment(workbook.read_bytes(), maintype="application", subtype=SUBTYPE, filename=workbook.name)
    return message
