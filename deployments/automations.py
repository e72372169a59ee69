"""Alerts: which Prefect events people receive, and the text of the messages; `dpa alerts` sets them up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.blocks.notifications import MicrosoftTeamsWebhook, SendgridEmail, SlackWebhook, TwilioSMS
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events import emit_event
from prefect.events.actions import ActionTypes, CallWebhook, SendNotification
from prefect.events.filters import AutomationFilter, AutomationFilterTags
from prefect.events.schemas.automations import (
    Automation,
    AutomationCore,
    EventTrigger,
    Posture,
    ResourceSpecificationDict,
)
from prefect.exceptions import ObjectNotFound

from blocks.alert_channel import AlertChannel, Kind
from blocks.places import load_block
from freight.outward import BODIES, SUBJECTS, Table
from tasks import heartbeat, news

CHANNEL = "alerts"  # the default Alert Channel block
SENDER = "dpa-alerts"  # Prefect's own block that is made from it
SENDERS = (MicrosoftTeamsWebhook, SendgridEmail, SlackWebhook, TwilioSMS, Webhook)
TAG = "dpa-alert"  # marks our automations
TRIED = "dpa.alerts.tried"

RUNS = "prefect.flow-run.*"
ENDS = "dpa.run.*"
STREAMS = "dpa.stream.*"
OF_DPA: ResourceSpecificationDict = {"prefect.resource.id": "prefect.tag.dpa", "prefect.resource.role": "tag"}
EACH = {"prefect.resource.id"}
EACH_CRASH = {"related:flow:prefect.resource.id", "related:deployment:prefect.resource.id", "prefect.state-message"}
EACH_NEWS = {"prefect.resource.id", news.EPISODE}  # a run that ends decides itself whether it has news

AGAIN = timedelta(minutes=10)  # the pause before the same alert repeats, however often its cause occurs
AGAIN_CRASHED = timedelta(minutes=2)  # shorter: the server does not know whether a run was well in between
AGAIN_WAITS = timedelta(seconds=heartbeat.WAITING_S)  # all listeners of a stream tell the same
SILENCE = timedelta(seconds=6 * heartbeat.BEAT_S)  # Prefect can lose some of a listener's heartbeats
UNREADY = timedelta(seconds=15)  # a resumed pool is not ready until its worker's next heartbeat

# A link that leads to the reader's own machine is worse than none.
LINK = "{{% set url = ({} | ui_url) or '' %}}{{% if '//127.0.0.1' in url or '//localhost' in url %}}\
(a link that opens elsewhere needs PREFECT_UI_URL) {{% endif %}}{{{{ url }}}}"
OF_RUN = LINK.format("flow_run")
RUN = f"""\
Source: {{{{ deployment.name or flow.name }}}}{{% if flow_run.parameters.dataset %}}, \
{{{{ flow_run.parameters.topic or flow_run.parameters.dataset }}}}{{% endif %}}
Reason: {{{{ (flow_run.state.message or "none given") | truncate(600) }}}}
Run: {{{{ flow_run.name }}}} {OF_RUN}"""
EVENT = f"""\
Source: {{{{ event.resource.name }}}}
Reason: {{{{ event.payload.reason | truncate(1000) }}}}
Run: {{{{ flow_run.name or "none" }}}} {{% if flow_run %}}{OF_RUN}{{% endif %}}"""
SILENT = """\
Source: {{ event.resource.id }}
Reason: no heartbeat since {{ event.occurred }}; then it was "{{ event.payload.state | truncate(200) }}", \
lag {{ event.payload.lag }}
Listener: {{ event.payload.listener }}"""
POOL = f"""\
Source: work pool {{{{ event.resource.name }}}}
Reason: none of its workers has sent a heartbeat for a while
Pool: {{{{ event.resource.name }}}} {LINK.format("work_pool")}"""


@dataclass(frozen=True)
class Alert:
    """A message to people about an event.

    Attributes:
        name: The name of the automation.
        trigger: The event that causes it.
        subject: The first line, a Prefect template like the body.
        body: The text below it.
        page: The page that says what to do.
    """

    name: str
    trigger: EventTrigger
    subject: str
    body: str
    page: str

    def automation(self, kind: Kind, sender: Block, sender_id: UUID) -> AutomationCore:
        """Return the automation that sends it to a channel of a given kind."""
        body = f"{self.body}\nTo do: {self.page}"
        return AutomationCore(
            name=f"DPA: {self.name}",
            description=f"Made by `dpa alerts apply`. What to do: {self.page}",
            tags=[TAG],
            trigger=self.trigger,
            actions=[_action(kind, sender, sender_id, f"DPA: {self.subject}", body)],
        )


def _action(kind: Kind, sender: Block, sender_id: UUID, subject: str, body: str) -> ActionTypes:
    """Return the action that sends a message as plain text, since it contains names that others have chosen.

    The server renders the templates without our code, so the templates themselves do the escaping.
    """
    is_json = isinstance(sender, Webhook)
    subject = _only_text("subject", subject, SUBJECTS[kind], is_json=is_json)
    body = _only_text("body", body, BODIES[kind], is_json=is_json)
    if not is_json:
        return SendNotification(block_document_id=sender_id, subject=subject, body=body)
    # Not Prefect's own Custom Webhook: if the receiver answers with an error, the server logs its URL.
    return CallWebhook(block_document_id=sender_id, payload=f'{{"subject": {subject}, "body": {body}}}')


def _only_text(name: str, template: str, replaced: Table, *, is_json: bool) -> str:
    spelled = f"{name}.translate({dict(replaced)!r})"
    return f"{{% set {name} %}}{template}{{% endset %}}{{{{ {spelled}{' | tojson' if is_json else ''} }}}}"


def _when(*events: str, of: str, again: timedelta = AGAIN, each: set[str] = EACH, of_dpa: bool = False) -> EventTrigger:
    """Return a trigger for an event; it fires at once, then not again for some time."""
    return EventTrigger(
        posture=Posture.Reactive,
        expect=set(events),
        match={"prefect.resource.id": of},
        match_related=OF_DPA if of_dpa else {},
        for_each=each,
        threshold=1,
        within=again,
    )


def _unless(*events: str, after: str, within: timedelta, of: str) -> EventTrigger:
    """Return a trigger for the absence of an event after another one; each occurrence of the latter restarts the time.

    So the latter is expected too: otherwise Prefect would miss an absence while it remembers the last success.
    """
    return EventTrigger(
        posture=Posture.Proactive,
        after={after},
        expect={after, *events},
        match={"prefect.resource.id": of},
        for_each=EACH,
        threshold=1,
        within=within,
    )


ALERTS = (
    Alert(
        name="a run failed",
        trigger=_when("dpa.run.failed", of=ENDS, each=EACH_NEWS),
        subject="{{ event.resource.name }} {{ event.payload.state }}",
        body=EVENT,
        page="docs/alerts.md#a-run-failed",
    ),
    Alert(
        name="a run crashed",
        trigger=_when("prefect.flow-run.Crashed", of=RUNS, each=EACH_CRASH, again=AGAIN_CRASHED, of_dpa=True),
        subject="{{ deployment.name or flow.name }} {{ flow_run.state.name }}",
        body=RUN,
        page="docs/alerts.md#a-run-failed",
    ),
    Alert(
        name="a load is degraded",
        trigger=_when("dpa.run.degraded", of=ENDS, each=EACH_NEWS),
        subject="{{ event.resource.name }} is done, but degraded",
        body=EVENT,
        page="docs/alerts.md#a-load-is-degraded",
    ),
    Alert(
        name="something is overdue",
        trigger=_when("dpa.run.overdue", of=ENDS, each=EACH_NEWS),
        subject="{{ event.payload.headline | truncate(200) }}",
        body=EVENT,
        page="docs/alerts.md#something-is-overdue",
    ),
    Alert(
        name="it is well again",
        trigger=_when("dpa.run.well", of=ENDS, each=EACH_NEWS),
        subject="{{ event.resource.name }} is well again",
        body=EVENT,
        page="docs/alerts.md#it-is-well-again",
    ),
    Alert(
        name="a listener is lost",
        trigger=_when("dpa.listener.lost", of=STREAMS),
        subject="a listener of {{ event.resource.name }} is lost",
        body=EVENT,
        page="docs/alerts.md#a-listener-is-lost",
    ),
    Alert(
        name="a stream is silent",
        trigger=_unless(heartbeat.ENDED, after=heartbeat.EVENT, within=SILENCE, of=STREAMS),
        subject="nobody listens to {{ event.resource.name }}",
        body=SILENT,
        page="docs/alerts.md#a-stream-is-silent",
    ),
    Alert(
        name="a stream waits",
        trigger=_when(heartbeat.WAITS, of=STREAMS, again=AGAIN_WAITS),
        subject="{{ event.resource.name }} waits",
        body=EVENT,
        page="docs/alerts.md#a-stream-waits",
    ),
    Alert(
        name="a stream goes on",
        trigger=_when(heartbeat.GOES_ON, of=STREAMS, again=AGAIN_WAITS),
        subject="{{ event.resource.name }} goes on",
        body=EVENT,
        page="docs/alerts.md#a-stream-waits",
    ),
    Alert(
        name="a stream is lagging",
        trigger=_when("dpa.stream.lagging", of=STREAMS),
        subject="{{ event.resource.name }} is lagging",
        body=EVENT,
        page="docs/alerts.md#a-stream-is-lagging",
    ),
    Alert(
        name="a work pool is not ready",
        trigger=_unless(
            "prefect.work-pool.ready",
            "prefect.work-pool.paused",
            "prefect.work-pool.deleted",
            after="prefect.work-pool.not-ready",
            within=UNREADY,
            of="prefect.work-pool.*",
        ),
        subject="work pool {{ event.resource.name }} is not ready",
        body=POOL,
        page="docs/alerts.md#a-work-pool-is-not-ready",
    ),
    Alert(
        name="alerts are tried",
        trigger=_when(TRIED, of="dpa.alerts", again=timedelta(0)),
        subject="this is how an alert arrives",
        body=EVENT,
        page="docs/alerts.md#set-it-up",
    ),
)


def apply(client: SyncPrefectClient, channel: str = CHANNEL, alerts: Sequence[Alert] = ALERTS) -> str:
    """Set up Prefect's alerts to a channel: create missing automations, update changed ones, delete our obsolete ones.

    An automation that was switched off in Prefect's interface stays off.

    Args:
        client: The client of the server that sends them; Prefect's own calls use it too.
        channel: The name of an Alert Channel block.
        alerts: The alerts.

    Returns:
        A one-line summary of the changes.

    Raises:
        ConfigurationError: The channel does not exist, or cannot be used.
        TransientError: Its key is in a vault that does not answer.
    """
    used = load_block(AlertChannel, channel)
    sender = used.sender_block()
    sender_id = sender.save(SENDER, overwrite=True)
    assert isinstance(sender_id, UUID)  # in synchronous code
    known = {automation.name: automation for automation in _ours(client)}
    wanted = [alert.automation(used.kind, sender, sender_id) for alert in alerts]
    made = [automation for automation in wanted if automation.name not in known]
    changed = [automation for automation in wanted if automation.name in known and _change(client, known, automation)]
    gone = known.keys() - {automation.name for automation in wanted}
    for automation in made:
        client.create_automation(automation)
    for name in gone:
        client.delete_automation(known[name].id)
    _forget_other_senders(client, sender)
    done = f"{len(made)} made, {len(changed)} changed, {len(gone)} removed"
    return f"{len(wanted)} alerts go to the channel {channel!r}: {done}"


def _ours(client: SyncPrefectClient) -> list[Automation]:
    return client.read_automations(automations=AutomationFilter(tags=AutomationFilterTags(all_=[TAG])))


def _change(client: SyncPrefectClient, known: dict[str, Automation], wanted: AutomationCore) -> bool:
    """Change an automation only if it differs: each change resets its trigger."""
    there = known[wanted.name]
    content = {**_content(wanted), "enabled": there.enabled}
    if _content(there) == content:
        return False
    client.update_automation(there.id, AutomationCore(**content))
    return True


def _content(automation: AutomationCore) -> dict[str, Any]:
    """Return the parts that an update may change."""
    return automation.model_dump(exclude={"id", "owner_resource"})


def _forget_other_senders(client: SyncPrefectClient, sender: Block) -> None:
    """Delete the block of an earlier channel of another kind: it holds a key."""
    for kind in SENDERS:
        if not isinstance(sender, kind):
            try:
                document = client.read_block_document_by_name(SENDER, kind.get_block_type_slug())
            except ObjectNotFound:
                continue
            client.delete_block_document(document.id)


def has_channel(client: SyncPrefectClient) -> bool:
    """Whether the default channel for alerts exists."""
    try:
        client.read_block_document_by_name(CHANNEL, AlertChannel.get_block_type_slug(), include_secrets=False)
    except ObjectNotFound:
        return False
    return True


def try_out() -> None:
    """Send a test alert along the way of all alerts."""
    payload = {"reason": "this is a test of the alerts"}
    emit_event(TRIED, {"prefect.resource.id": "dpa.alerts", "prefect.resource.name": "DPA"}, payload=payload)
