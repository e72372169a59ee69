"""What a supplier writes into a name does nothing in a message: what really arrives in each kind of channel."""

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
import requests
from prefect.blocks.abstract import NotificationBlock
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.events.actions import CallWebhook, SendNotification
from prefect.server.events.actions import JinjaTemplateAction
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings
from prefect.states import Failed
from pydantic import SecretStr

from blocks.alert_channel import AlertChannel, Kind
from deployments.automations import ALERTS, SILENT, Alert
from freight.outward import BODIES, SUBJECTS, markdown, plain
from tests.lib.alerting import Answers
from tests.unit.test_alert_channel import MAIL, SMS, TEAMS, TWILIO

# What sends to Slack and the like imports a module that Python 3.13 drops.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

HOSTILE = (
    "<!channel> <!here|x> <@U012AB3CD> &lt;!everyone&gt; <http://evil.example|click> !channel> @U012AB3CD> "
    "<at>boss@corp.example</at> [x](http://evil.example) ![](http://evil.example/who.png) [x]: http://evil.example "
    "<img src=http://evil.example/who.png> <script>alert(1)</script> {{ 7 * 7 }} "
    "\x1b[31m\u202egpj.exe\u2069\0\ufeff | `code` \"quoted\" 'it' a_b*c erp_20260315.csv [header_only]"
)
KEYS: dict[Kind, tuple[str, dict[str, Any]]] = {
    "teams": (TEAMS, {}),
    "slack": ("https://hooks.slack.com/services/T0123ABCD/B0123ABCD/canary0123456789ABCDEFGH", {}),
    "email": ("SG.canary0123456789", {**MAIL, "recipients": ["ops@example.org"]}),
    "sms": (TWILIO, SMS),
    "webhook": ("https://example.org/canary", {}),
}
NOTIFIERS: list[Kind] = ["teams", "slack", "email", "sms"]
WITH_RUN = [alert for alert in ALERTS if "flow_run | ui_url" in alert.body]
MARKUP = ("<", ">", "](", "![")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """Takes what is sent to Slack and the others, whatever its address."""
    with Answers() as made:
        send = requests.Session.request

        def send_here(session: requests.Session, method: str, url: str, **more: Any) -> requests.Response:
            assert url.startswith("https://")
            return send(session, method, made.url, **more)

        monkeypatch.setattr(requests.Session, "request", send_here)
        yield made


def channel(kind: Kind) -> AlertChannel:
    key, more = KEYS[kind]
    return AlertChannel(kind=kind, key=SecretStr(key), **more)


def rendered(alert: Alert, kind: Kind, **more: Any) -> tuple[str, str]:
    """Return subject and body as Prefect's server makes them, where every text of others is hostile."""
    action = alert.automation(kind, channel(kind).sender_block(), uuid4()).actions[0]
    named = SimpleNamespace(id=uuid4(), name=HOSTILE)
    run = SimpleNamespace(
        id=uuid4(), name=HOSTILE, state=SimpleNamespace(message=HOSTILE, name=HOSTILE), parameters={"dataset": HOSTILE}
    )
    resource = SimpleNamespace(id=HOSTILE, name=HOSTILE)
    payload = {
        "reason": f"{HOSTILE}\nsecond line",
        "headline": HOSTILE,
        "state": HOSTILE,
        "lag": 1,
        "listener": HOSTILE,
    }
    event = SimpleNamespace(resource=resource, payload=payload, occurred="now")
    context = {"deployment": named, "flow": named, "flow_run": run, "event": event, "work_pool": None, **more}
    JinjaTemplateAction._register_filters_if_needed()
    if isinstance(action, CallWebhook):
        told = json.loads(render_user_template_sync(action.payload, context))
        return told["subject"], told["body"]
    assert isinstance(action, SendNotification)
    return render_user_template_sync(action.subject, context), render_user_template_sync(action.body, context)


def sent(kind: Kind, answers: Answers, subject: str, body: str) -> str:
    """Send a message by Prefect's own block; return what has arrived, as the receiver decodes it."""
    sender = channel(kind).sender_block()
    assert isinstance(sender, NotificationBlock)
    with sender.raise_on_failure():
        asyncio.run(sender.anotify(subject=subject, body=body))  # type: ignore[attr-defined]
    (raw,) = answers.bodies
    if kind == "sms":
        return parse_qs(raw)["Body"][0]
    return "\n".join(texts(json.loads(raw)))


def texts(found: object) -> Iterator[str]:
    """Give all texts within JSON but fixed ones of the senders."""
    match found:
        case dict():
            for name, value in found.items():
                if name not in ("$schema", "personalizations", "from", "footer_icon", "icon_url"):
                    yield from texts(value)
        case list():
            for value in found:
                yield from texts(value)
        case str():
            yield found


@pytest.mark.parametrize(
    ("kind", "live"),
    [("teams", '"type": "mention"'), ("slack", "<!channel>"), ("email", "<script>alert(1)</script>")],
    ids=["teams", "slack", "email"],
)
def test_what_sends_would_let_the_names_of_others_do_something(kind: Kind, live: str, answers: Answers) -> None:
    """The attack: as the text comes, the library that sends makes a mention, an order and HTML of it."""
    arrived = sent(kind, answers, "subject", HOSTILE)
    assert live in (arrived + str(answers.bodies)).replace("<!channel|>", "<!channel>")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
@pytest.mark.parametrize("kind", NOTIFIERS)
def test_no_alert_does_anything_where_it_arrives(kind: Kind, alert: Alert, answers: Answers) -> None:
    subject, body = rendered(alert, kind)
    assert "\n" not in subject
    arrived = sent(kind, answers, subject, body)
    assert "erp_20260315.csv" in arrived
    assert "{{ 7 * 7 }}" in arrived
    assert not set(arrived) & set("\x1b\u202e\u2069\0\ufeff")
    match kind:
        case "slack":
            assert not {"<", ">"} & set(arrived)  # without them Slack reads no order
        case "teams":
            assert not [sign for sign in MARKUP if sign in arrived]
            assert "mention" not in str(answers.bodies)
        case "email":
            content = json.loads(answers.bodies[0])["content"][0]["value"]
            assert "<" not in content.replace("<br>\n", "")
            assert "\nTo do: docs/alerts.md" in content


@pytest.mark.parametrize("alert", [one for one in ALERTS if one.body != SILENT], ids=lambda alert: alert.name)
@pytest.mark.parametrize(
    ("place", "is_marked"),
    [
        ("https://prefect.example.org:4200", False),
        ("http://127.0.0.1:4200", True),
        ("http://localhost:4200", True),
    ],
)
def test_a_link_that_opens_only_on_the_server_is_marked(alert: Alert, place: str, is_marked: bool) -> None:
    run, pool = FlowRun(flow_id=uuid4(), name="run"), WorkPool(name="local", type="process", default_queue_id=uuid4())
    with temporary_settings({PREFECT_UI_URL: place}):
        _, body = rendered(alert, "webhook", flow_run=run, work_pool=pool)
    (line,) = [line for line in body.splitlines() if place in line]
    assert ("(a link that opens elsewhere needs PREFECT_UI_URL) " in line) == is_marked
    assert line.endswith((f"{place}/runs/flow-run/{run.id}", f"{place}/work-pools/work-pool/local"))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_webhook_gets_text_that_is_json_and_nothing_unseen(alert: Alert) -> None:
    subject, body = rendered(alert, "webhook")
    assert "\n" not in subject
    assert not set(subject + body) & set("\x1b\u202e\u2069\0\ufeff")
    assert "<!channel>" in subject + body


@pytest.mark.parametrize("alert", WITH_RUN, ids=lambda alert: alert.name)
def test_a_run_without_a_message_is_told_with_a_link_that_a_phone_reaches(alert: Alert) -> None:
    action = alert.automation("webhook", channel("webhook").sender_block(), uuid4()).actions[0]
    assert isinstance(action, CallWebhook)
    JinjaTemplateAction._register_filters_if_needed()
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="a run", state=Failed())
    here = {PREFECT_API_URL: "http://127.0.0.1:4200/api", PREFECT_UI_URL: "https://prefect.example.org"}
    with temporary_settings(here):
        body = json.loads(render_user_template_sync(action.payload, {"flow_run": run}))["body"]
    assert f"a run https://prefect.example.org/runs/flow-run/{run.id}" in body


@pytest.mark.parametrize("kind", KEYS)
def test_what_the_server_replaces_is_what_we_would(kind: Kind) -> None:
    text = HOSTILE + "\n\t\r\\ é😀" + "".join(map(chr, (*BODIES[kind], *SUBJECTS[kind])))
    for table in (BODIES[kind], SUBJECTS[kind]):
        template = f"{{{{ text.translate({dict(table)!r}) }}}}"
        assert render_user_template_sync(template, {"text": text}) == text.translate(dict(table))


def test_a_name_stays_legible() -> None:
    name = "landing/erp_csv/erp_20260315.csv: Édéa (n° 3) 100 % ok, a-b"
    assert {name.translate(dict(BODIES[kind])) for kind in KEYS} == {name}
    assert markdown(name) == plain(name) == name
    assert plain("a\x1b[31mb\u202ec\nd") == "a\\x1b[31mb\\u202ec\nd"


def test_markdown_of_a_cell_is_text_in_one_line() -> None:
    told = markdown(HOSTILE + "\n# heading\n\n| a | b |\n")
    assert "\n" not in told
    assert not [sign for sign in (*MARKUP, "[", "|") if sign in told]
