"""HTTP APIs as sources: what they answer loads wholly or not at all, however badly they behave."""

import gc
import gzip
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import polars as pl
import pytest
import sqlalchemy as sa

from blocks.http_api import HttpApi
from freight import retry
from freight.care.reconcile import reconcile
from freight.errors import ConfigurationError
from freight.pipeline import UnitOutcome
from freight.readers import http_pages
from freight.readers.http_paging import ApiOptions
from freight.readers.raw import RawBatch, RawTable
from freight.types import LoadCounts
from tests.conftest import Measured, WarehouseUnderTest
from tests.lib.connections import KnownConnections
from tests.lib.corridor import Corridor
from tests.lib.odd_api import OddApi, Question, Reply

MACHINES = [{"id": f"MCH-00{number}", "site": "Douala", "year": 2010, "owner": {"name": "x"}} for number in range(1, 7)]


@pytest.fixture
def api() -> Iterator[OddApi]:
    with OddApi() as api:
        yield api


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between two tries, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(retry, "sleep", waited.append)
    return waited


@pytest.fixture
def corridor(tmp_path: Path, api: OddApi, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    """A corridor whose machines are known by an API."""
    block = HttpApi(base_url=f"{api.url}/v1", private=True, read_timeout_s=1)
    corridor = Corridor(tmp_path, sqlite_warehouse.engine, connections=KnownConnections(apis={"erp": block}))
    return corridor.add_connected("machines", "machines", "http_api", location="machines", options={})


def load(corridor: Corridor) -> UnitOutcome:
    """Load, and check that the ledger agrees with the tables."""
    (outcome,) = corridor.load().outcomes
    assert reconcile(corridor.engine) == []
    return outcome


def let(corridor: Corridor, **options: Any) -> None:
    """Set options of the source."""
    corridor.sources[0]["options"] |= options


def failure(corridor: Corridor) -> str:
    """Load, check that nothing was loaded, and return why."""
    outcome = load(corridor)
    assert outcome.state == "failed"
    assert corridor.rows("batches", "1", order_by="1") == []
    assert corridor.rows("load_attempts", "location", "1") == [("erp/machines", 1)]
    return outcome.message


def test_an_answer_loads_once_and_then_what_has_changed(corridor: Corridor, api: OddApi) -> None:
    api.reply = lambda _: Reply({"data": MACHINES})
    assert load(corridor).counts == LoadCounts(read=6, inserted=6)
    assert load(corridor) == UnitOutcome("machines", "erp/machines", "unchanged", message="loaded before")
    api.reply = lambda _: Reply([{**MACHINES[0], "site": "Edéa"}, *MACHINES[1:5]])
    assert load(corridor).counts == LoadCounts(read=5, updated=1, unchanged=4)
    assert ("MCH-006", True) in corridor.rows("dim_machines", "machine_id", "is_absent")
    assert [question.path for question in api.asked] == 3 * ["/v1/machines"]


def test_a_key_that_was_renamed_is_told_among_those_that_are_passed_over(corridor: Corridor, api: OddApi) -> None:
    api.reply = lambda _: Reply([{**machine, "colour": "red"} for machine in MACHINES])
    assert load(corridor).counts == LoadCounts(read=6, inserted=6)
    renamed = [{key.replace("site", "sites"): value for key, value in machine.items()} for machine in MACHINES]
    api.reply = lambda _: Reply([{**machine, "colour": "red"} for machine in renamed])
    outcome = load(corridor)
    assert outcome.state == "failed"
    assert "'sites' seems to be the new header of 'site_location', by its name" in outcome.message
    assert "and the source also has 'sites', 'owner', 'colour'" in outcome.message


def by_etag(question: Question, shown: list[dict[str, Any]], etag: str) -> Reply:
    if question.headers.get("If-None-Match") == etag:
        return Reply(b"", 304, {"ETag": etag})
    return Reply(shown, headers={"ETag": etag})


def test_an_api_that_says_that_nothing_has_changed_is_believed(corridor: Corridor, api: OddApi) -> None:
    api.reply = lambda question: by_etag(question, MACHINES, '"one"')
    assert load(corridor).counts.inserted == 6
    assert load(corridor).state == "unchanged"
    assert api.asked[-1].headers["If-None-Match"] == '"one"'
    let(corridor, parameters={"region": "Littoral"})  # another question
    assert load(corridor).state == "unchanged"
    assert "If-None-Match" not in api.asked[-1].headers
    api.reply = lambda question: by_etag(question, MACHINES[:5], '"two"')
    assert load(corridor).counts == LoadCounts(read=5, unchanged=5)


def test_the_time_of_the_last_change_is_what_an_answer_speaks_for(corridor: Corridor, api: OddApi) -> None:
    changed = format_datetime(datetime(2026, 2, 1, tzinfo=UTC), usegmt=True)

    def reply(question: Question) -> Reply:
        is_known = question.headers.get("If-Modified-Since") == changed
        return Reply(b"", 304) if is_known else Reply(MACHINES, headers={"Last-Modified": changed})

    api.reply = reply
    assert load(corridor).counts.inserted == 6
    assert load(corridor).state == "unchanged"
    assert corridor.rows("batches", "as_of", "1") == [("2026-02-01 00:00:00.000000", 1)]


Paged = Callable[[Question], Reply]


def by_link(question: Question) -> Reply:
    start = int(question.parameters.get("start", "0"))
    more = {"Link": f'</v1/machines?start={start + 2}>; rel="next"'} if start < 4 else {}
    return Reply(MACHINES[start : start + 2], headers=more)


def by_cursor(question: Question) -> Reply:
    start = int(question.parameters.get("after", "c0").removeprefix("c"))
    return Reply({"items": MACHINES[start : start + 2], "next": f"c{start + 2}" if start < 4 else None, "total": 6})


def by_number(question: Question) -> Reply:
    start = int(question.parameters["p"]) * 4
    assert question.parameters["size"] == "4"
    return Reply({"machines": MACHINES[start : start + 4], "total": 6})


def by_body_link(question: Question) -> Reply:
    start = int(question.parameters.get("start", "0"))
    following = f"/v1/machines?start={start + 2}" if start < 4 else None
    return Reply({"results": MACHINES[start : start + 2], "count": 6, "next": following})


def by_offset(question: Question) -> Reply:
    start = int(question.parameters["skip"])
    return Reply({"data": MACHINES[start : start + 4], "total": 6, "limit": 4, "offset": start})


def by_last_id(question: Question) -> Reply:
    after = question.parameters.get("starting_after", "")
    rest = [machine for machine in MACHINES if str(machine["id"]) > after]
    return Reply({"data": rest[:2], "has_more": len(rest) > 2})


PAGED: dict[str, tuple[Paged, dict[str, Any]]] = {
    "a link in the body": (by_body_link, {"paging": "link"}),
    "offset": (by_offset, {"paging": "offset", "offset_parameter": "skip"}),
    "last id": (by_last_id, {"paging": "last_id"}),
    "a cursor within an object": (
        lambda question: Reply({**by_cursor(question).content, "next": None, "meta": by_cursor(question).content}),
        {"paging": "cursor", "cursor_key": "meta.next", "cursor_parameter": "after"},
    ),
    "link": (by_link, {"paging": "link"}),
    "cursor": (
        by_cursor,
        {"paging": "cursor", "cursor_key": "next", "cursor_parameter": "after", "total_key": "total"},
    ),
    "page": (
        by_number,
        {
            "paging": "page",
            "page_parameter": "p",
            "first_page": 0,
            "parameters": {"size": "4"},
            "records": "machines",
            "total_key": "total",
        },
    ),
}


@pytest.mark.parametrize(("reply", "options"), PAGED.values(), ids=PAGED)
def test_all_pages_are_one_snapshot(corridor: Corridor, api: OddApi, reply: Paged, options: dict[str, Any]) -> None:
    api.reply = reply
    let(corridor, **options)
    assert load(corridor).counts == LoadCounts(read=6, inserted=6)
    assert len(api.asked) == 3
    assert load(corridor).state == "unchanged"
    assert len(corridor.rows("batches", "1", order_by="1")) == 1


BAD_PAGES = [
    ("link", Reply(b"", 500)),
    ("link", Reply(b"")),
    ("cursor", Reply(MACHINES, cut=20)),
    ("page", Reply(b'[{"id": "MCH')),
]


@pytest.mark.parametrize(("paging", "bad"), BAD_PAGES)
def test_no_half_of_a_snapshot_loads_when_a_later_page_is_bad(
    corridor: Corridor, api: OddApi, paging: str, bad: Reply
) -> None:
    reply, options = PAGED[paging]
    let(corridor, **options)
    firsts: list[Question] = []

    def only_the_first(question: Question) -> Reply:
        firsts.append(question)
        return reply(question) if len(firsts) == 1 else bad

    api.reply = only_the_first
    assert "Remedy: " in failure(corridor)


def repeated_page(question: Question) -> Reply:
    start = int(question.parameters.get("start", "0"))
    return Reply(MACHINES[:2], headers={"Link": f'</v1/machines?start={start + 2}>; rel="next"'})


FAULTS: dict[str, tuple[Paged, dict[str, Any], str]] = {
    "a cursor that leads back": (
        lambda question: Reply({"items": [{"id": str(len(question.parameters))}], "next_cursor": "same"}),
        {"paging": "cursor"},
        "its pages do not end: it links to",
    ),
    "a page that comes again": (repeated_page, {"paging": "link"}, "it returns the same page again"),
    "a last page that comes for ever": (
        lambda _: Reply(MACHINES),
        {"paging": "page"},
        "it returns the same page again",
    ),
    "a total that does not match": (
        lambda _: Reply({"items": MACHINES, "count": 7}),
        {"total_key": "count"},
        "it returned 6 records, but its count says 7",
    ),
    "a total that is not told": (lambda _: Reply(MACHINES), {"total_key": "count"}, "its count says None"),
    "pages that nobody expects": (by_link, {}, "this is one page of several"),
    "a cursor that nobody expects": (by_cursor, {}, "this is one page of several"),
    "more by a flag": (
        lambda _: Reply({"data": MACHINES, "has_more": True}),
        {},
        r"one page of several: its has_more is true .*\{paging: last_id, id_key: id, id_parameter: starting_after",
    ),
    "more by a total": (
        lambda _: Reply({"data": MACHINES[:2], "total": 4, "limit": 2, "offset": 0}),
        {},
        r"its total says 4, and 2 records came .*such as `options: \{paging: offset, offset_parameter: offset\}`",
    ),
    "more by the number of pages": (
        lambda _: Reply({"data": MACHINES, "meta": {"total_pages": 2, "page": 1}}),
        {},
        r"its meta.total_pages says 2 .*\{paging: page, page_parameter: page, first_page: 1\}",
    ),
    "more by a header": (
        lambda _: Reply(MACHINES, headers={"X-Total-Count": "7"}),
        {},
        "its header X-Total-Count says 7, and 6 records came",
    ),
    "more by a page that is not the last": (lambda _: Reply({"data": MACHINES, "last": False}), {}, "last is false"),
    "more by a cursor": (
        lambda _: Reply({"data": MACHINES, "meta": {"next_cursor": "canary"}}),
        {},
        r"\{paging: cursor, cursor_key: meta.next_cursor, cursor_parameter: cursor\}",
    ),
    "a last page that says there is more": (
        lambda _: Reply({"data": MACHINES, "has_more": True}),
        {"paging": "cursor"},
        "it says on its last page that there is more: its has_more is true",
    ),
    "fewer records than the usual total": (
        lambda question: Reply({"data": MACHINES if question.parameters["page"] == "1" else [], "total": 9}),
        {"paging": "page"},
        r"pages are missing: its total says 9, and 6 records came .*total_key: \"\"",
    ),
    "records without the id of the paging": (
        lambda _: Reply({"data": [{"name": "x"}]}),
        {"paging": "last_id"},
        "links to a page without a usable address",
    ),
    "errors beside the records": (
        lambda _: Reply({"data": MACHINES, "errors": [{"message": "shard 3 is away"}]}),
        {},
        "it has 'errors' beside its records, so it may be incomplete: it says .*",
    ),
    "a part by a key of the catalog": (
        lambda _: Reply({"data": MACHINES, "meta": {"partial": True}}),
        {"absent_keys": ["errors", "meta.partial"]},
        "it has 'meta.partial' beside its records",
    ),
    "a cursor that expires": (
        lambda question: (
            Reply({"error": "cursor expired", "secret": question.parameters["key"]}, 410)
            if "cursor" in question.parameters
            else Reply({"data": MACHINES, "next_cursor": "c1"})
        ),
        {"paging": "cursor", "parameters": {"key": "canary"}},
        'answers 410 Gone to a later page: its cursor has expired: it says "{"error": "cursor expired"',
    ),
    "an expired cursor in a page of its own": (
        lambda question: Reply(
            {"message": "expired"} if "cursor" in question.parameters else by_cursor(question).content
        ),
        {"paging": "cursor", "cursor_key": "next"},
        'not a list of objects: it says "{"message": "expired"}"',
    ),
    "a web page": (
        lambda _: Reply(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
        {},
        r"the response \(text/html\): not valid JSON",
    ),
    "a page nested too deep": (lambda _: Reply(b"[" * 100_000 + b"]" * 100_000), {}, "depth limit exceeded"),
    "a page that fills the memory": (
        lambda _: Reply(b"[" + b'{"a":1},' * 1_800_000 + b"{}]"),
        {},
        "its parser (died|ran out of memory)",
    ),
    "no list": (lambda _: Reply({"error": "no"}), {}, "the JSON is not a list of objects"),
    "a list under another key": (lambda _: Reply({"items": []}), {"records": "machines"}, "name the key of the list"),
    "no rows": (lambda _: Reply([]), {}, "the file is empty"),
    "a refused login": (lambda _: Reply("", 403), {}, "answers 403 Forbidden"),
    "a path that is not there": (lambda _: Reply("", 404), {}, r"answers 404 Not Found \[missing\]"),
    "a part": (lambda _: Reply(MACHINES, 206), {}, "answers 206"),
    "nothing new although nobody asked": (lambda _: Reply(b"", 304), {}, "answers 304"),
    "words of its own": (lambda _: Reply("", 299), {}, r"the API answers 299 \[unreadable\]"),
    "a redirection to no place": (
        lambda _: Reply("", 302, {"Location": "//xn--a/"}),
        {},
        "it redirects to no usable address, or more than 5 times",
    ),
    "a next page at half an address": (
        lambda _: Reply(MACHINES, headers={"Link": '<http:////[>; rel="next"'}),
        {"paging": "link"},
        "links to a page without a usable address",
    ),
    "a next page whose address holds a secret": (
        lambda _: Reply(MACHINES, headers={"Link": '</v1/machines?key=canary>; rel="next"'}),
        {"paging": "link"},
        r"same page again at /?\S*machines\?key \[corrupt\]",
    ),
    "a kind that holds a secret": (
        lambda _: Reply(b"<", headers={"Content-Type": "you said: canary"}),
        {},
        r"the response \(of unknown type\): not valid JSON",
    ),
    "a redirection that leads back": (
        lambda _: Reply("", 302, {"Location": "/v1/machines"}),
        {},
        "it redirects to no usable address",
    ),
    "another host": (
        lambda _: Reply("", 302, {"Location": "http://169.254.169.254/latest"}),
        {},
        "leads to 169.254.169.254: that needs an HTTP API block of its own",
    ),
    "a next page at another host": (
        lambda _: Reply(MACHINES, headers={"Link": '<http://localhost:1/x>; rel="next"'}),
        {"paging": "link"},
        "leads to localhost",
    ),
    "a next page at no place": (
        lambda _: Reply(MACHINES, headers={"Link": '<http://[::1>; rel="next"'}),
        {"paging": "link"},
        "links to a page without a usable address",
    ),
    "a truncated answer": (lambda _: Reply(MACHINES, cut=1), {}, "the API did not send a full response"),
    "a silent server": (lambda _: Reply(MACHINES, pause_s=1.2), {}, "the API did not send a full response: timed out"),
}


def faults() -> Iterator[Any]:
    for name, fault in FAULTS.items():
        yield pytest.param(*fault, id=name, marks=[pytest.mark.apart] if "memory" in name else [])


@pytest.mark.parametrize(("reply", "options", "told"), [*faults()])
def test_what_does_not_add_up_is_told_and_loads_nothing(
    corridor: Corridor,
    api: OddApi,
    monkeypatch: pytest.MonkeyPatch,
    reply: Paged,
    options: dict[str, Any],
    told: str,
) -> None:
    monkeypatch.setattr(retry, "SOURCE", retry.RetryPolicy(first_pause_s=1, retries=1))
    api.reply = reply
    let(corridor, **options)
    message = failure(corridor)
    assert re.search(told, message), message
    assert "Remedy: " in message
    assert "canary" not in message


def test_a_list_that_changes_while_its_pages_are_read_waits_for_the_next_run(corridor: Corridor, api: OddApi) -> None:
    api.reply = lambda question: Reply({"data": MACHINES[:3], "total": 9 + int(question.parameters["page"])})
    let(corridor, paging="page")
    outcome = load(corridor)
    assert outcome.state == "waiting"
    assert "its list changed from 10 to 11 records while its pages were read" in outcome.message
    assert corridor.rows("batches", "1", order_by="1") == []


@pytest.mark.parametrize(
    ("more", "options"),
    [
        ({"errors": []}, {}),
        ({"errors": None, "partial": False}, {"absent_keys": ["errors", "partial"]}),
        ({"errors": ["ignored"]}, {"absent_keys": []}),
        ({"total": 12_000}, {"total_key": ""}),
        ({"total": 6, "count": 6, "has_more": False, "next": None, "last": True, "page": 1, "total_pages": 1}, {}),
    ],
)
def test_an_answer_that_is_whole_loads(
    corridor: Corridor, api: OddApi, more: dict[str, Any], options: dict[str, Any]
) -> None:
    api.reply = lambda _: Reply({"data": MACHINES, **more})
    let(corridor, **options)
    assert load(corridor).counts.inserted == 6


ANSWERS = [20, pytest.param(1_000, marks=[pytest.mark.chaos, pytest.mark.timeout(1_800)], id="1,000 APIs")]
# How an API can show its paging, and the options that follow it.
WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "page": {"paging": "page"},
    "offset": {"paging": "offset"},
    "last_id": {"paging": "last_id"},
    "cursor": {"paging": "cursor"},
    "link": {"paging": "link"},
}


def drawn_api(chance: Random, way: str, fault: str) -> Paged:
    """Return an API with pages of two machines, which fails on one of them in the given way."""
    bad_page, has_flag = chance.randrange(3), chance.random() < 0.5

    def reply(question: Question) -> Reply:
        number = page_of(way, question.parameters)
        shown = MACHINES[2 * number : 2 * number + 2] if way != "none" else MACHINES
        page: dict[str, Any] = {"data": shown, "total": 6}
        page |= {"has_more": way != "none" and number < 2} if has_flag else {}
        if number < 2:
            page |= {"cursor": {"next_cursor": f"c{number + 1}"}, "link": {"next": f"?page={number + 2}"}}.get(way, {})
        return broken(fault, page) if number == bad_page or way == "none" else Reply(page)

    return reply


def page_of(way: str, asked: dict[str, str]) -> int:
    """Return the number of the page that a request asks for, from 0."""
    match way:
        case "offset":
            return int(asked["offset"]) // 2
        case "last_id":
            return int(asked.get("starting_after", "MCH-000")[-1]) // 2
        case "cursor":
            return int(asked.get("cursor", "c0")[1:])
        case _:
            return int(asked.get("page", "1")) - 1


def broken(fault: str, page: dict[str, Any]) -> Reply:
    """Return a page with a fault."""
    match fault:
        case "a row is gone":
            return Reply({**page, "data": page["data"][:-1]})
        case "errors":
            return Reply({**page, "errors": [{"code": 5}]})
        case "the total moves":
            return Reply({**page, "total": 7})
        case "an expired cursor":
            return Reply({"error": "expired"}, 410)
        case "cut off":
            return Reply(page, cut=5)
        case _:
            return Reply(page)


@pytest.mark.parametrize("apis", ANSWERS)
def test_of_a_drawn_api_all_records_load_or_none(
    corridor: Corridor, api: OddApi, monkeypatch: pytest.MonkeyPatch, measured: Measured, apis: int
) -> None:
    monkeypatch.setattr(retry, "SOURCE", retry.RetryPolicy(first_pause_s=1, retries=1))
    faults = ("none", "a row is gone", "errors", "the total moves", "an expired cursor", "cut off")
    whole = 0
    for seed in range(apis):
        chance = Random(seed)
        way, fault = chance.choice([*WAYS]), chance.choice(faults)
        configured = chance.choice([way, way, "none"])
        api.reply = drawn_api(chance, way, fault)
        corridor.sources[0] |= {"location": f"machines/{seed}", "options": WAYS[configured]}
        (outcome,) = corridor.load().outcomes
        is_whole = fault == "none" and configured == way
        assert (outcome.state == "loaded") == is_whole, (seed, way, configured, fault, outcome)
        assert not is_whole or outcome.counts.read == len(MACHINES)
        whole += is_whole
    assert whole
    measured(f"{apis} APIs: {whole} whole ones loaded, {apis - whole} others loaded nothing")


@pytest.mark.parametrize("header", ["Date", "Last-Modified", "ETag", "Retry-After"])
@pytest.mark.parametrize(
    "value", ["Fri, 31 Dec 9999 23:59:59 -1200", "Mon, 01 Jan 99999999999999 00:00:00 GMT", "\xe9", "9" * 9_000]
)
def test_a_header_that_tells_nothing_is_passed_over(corridor: Corridor, api: OddApi, header: str, value: str) -> None:
    api.reply = lambda _: Reply(MACHINES, headers={header: value})
    assert load(corridor).counts.inserted == 6
    assert load(corridor).state == "unchanged"


@pytest.mark.parametrize("etag", ["\xe9", "9" * 9_000])
def test_an_etag_that_cannot_be_sent_back_is_not_kept(corridor: Corridor, api: OddApi, etag: str) -> None:
    api.reply = lambda _: Reply(MACHINES, headers={"ETag": etag})
    assert load(corridor).counts.inserted == 6
    assert load(corridor).state == "unchanged"
    assert "If-None-Match" not in api.asked[-1].headers


def test_an_answer_that_is_packed_once_is_unpacked(corridor: Corridor, api: OddApi) -> None:
    packed = gzip.compress(json.dumps(MACHINES + [{"id": f"MCH-{n}", "year": 2010} for n in range(9_000)]).encode())
    api.reply = lambda _: Reply(packed, headers={"Content-Encoding": "gzip"})
    assert load(corridor).counts.read == 9_006
    assert api.asked[-1].headers["Accept-Encoding"] == "gzip"


def test_an_answer_that_unpacks_to_more_than_fits_is_not_read(
    corridor: Corridor, api: OddApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pages, "PAGE_LIMIT_BYTES", 1 << 20)
    bomb = gzip.compress(b"[" + b" " * (20 << 20) + b"]")
    assert len(bomb) < 1 << 20
    api.reply = lambda _: Reply(bomb, headers={"Content-Encoding": "gzip"})
    assert "[too_large]" in failure(corridor)


def test_pages_that_take_too_long_in_all_are_given_up(
    corridor: Corridor, api: OddApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pages, "FETCH_LIMIT_S", -1.0)
    api.reply = lambda _: Reply(MACHINES)
    assert "[timed_out]" in failure(corridor)


@pytest.fixture
def usual_garbage_collection() -> Iterator[None]:
    """Search for garbage as often as the product does; the other tests do it seldom."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("usual_garbage_collection")
def test_pages_with_long_addresses_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = ApiOptions(paging="link")

    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", "1")) + 1
        more = {"Link": f'<?page={number}&cursor={"x" * 9_000}>; rel="next"'} if number < 500 else {}
        return httpx.Response(200, content=b"[]", headers=more)

    def read(*_: Any) -> RawTable:
        told = pl.DataFrame({"0": [json.dumps([None] * len(options.page_keys))], "1": ["null"], "row_number": [0]})
        return RawTable(("record", "mark"), iter([RawBatch(told, pl.DataFrame())]))

    monkeypatch.setattr(http_pages, "read_isolated", read)
    client = httpx.Client(base_url="https://erp.example.org", transport=httpx.MockTransport(answer))
    pages = http_pages.Pages(client, options, "erp", httpx.URL("machines"), {})
    tracemalloc.start()
    pages.write(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 7 << 20  # urllib remembers the last ones
    tracemalloc.stop()


def test_a_record_that_names_a_key_twice_is_quarantined(corridor: Corridor, api: OddApi) -> None:
    twice = b'{"id": "MCH-009", "site": "Edea", "site": "Douala", "year": 2010}'
    api.reply = lambda _: Reply(json.dumps(MACHINES).encode()[:-1] + b"," + twice + b"]")
    outcome = load(corridor)
    assert outcome.counts == LoadCounts(read=7, inserted=6, quarantined=1)
    assert outcome.reason_counts == {"doubled_field": 1}


@pytest.mark.parametrize("status", [429, 503])
def test_an_api_that_is_busy_is_asked_again_when_it_says(
    corridor: Corridor, api: OddApi, pauses: list[float], status: int
) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    asks = [*(Reply("", status, {"Retry-After": told}) for told in ("7", soon, "86400")), Reply("", status)]
    api.reply = lambda _: asks.pop(0) if asks else Reply(MACHINES)
    assert load(corridor).counts.inserted == 6
    assert [pauses[0], pauses[2]] == [7.0, retry.ASKED_PAUSE_LIMIT_S]
    assert 8.0 <= pauses[3] <= 12.0
    assert 20 < pauses[1] <= 30


def test_an_api_that_stays_busy_fails_alone_and_its_file_is_dropped(corridor: Corridor, api: OddApi) -> None:
    corridor.add_source("file", "machines", "json", "machines*.json")
    corridor.write_machines("machines_20260101.json")
    api.reply = lambda _: Reply("", 503)
    report = corridor.load()
    assert [outcome.state for outcome in report.outcomes] == ["failed", "loaded"]
    assert "answers 503 Service Unavailable [unreadable]" in report.outcomes[0].message
    assert len(api.asked) == 1 + len([*retry.SOURCE.pauses()])


@pytest.fixture
def transactions(corridor: Corridor, api: OddApi) -> list[dict[str, Any]]:
    """Transactions that an API gives since a time, in pages of two."""
    records: list[dict[str, Any]] = []

    def reply(question: Question) -> Reply:
        since, page = question.parameters.get("since", ""), int(question.parameters["page"])
        found = [record for record in records if not isinstance(record["changed"], str) or record["changed"] >= since]
        return Reply({"items": found[page * 2 - 2 : page * 2]})

    api.reply = reply
    corridor.sources = []
    corridor.add_connected(
        "orders",
        "transactions",
        "http_api",
        location="orders",
        options={"paging": "page", "watermark": "changed", "overlap_s": 600},
    )
    records += [transaction(1, "2026-02-01T10:00:00Z"), transaction(2, "2026-02-01T11:00:00Z")]
    return records


def transaction(key: int, changed: str | None, volume: float = 30) -> dict[str, Any]:
    row = {"transaction_id": f"TRX-{key}", "machine_id": "MCH-001", "date": "2026-02-01T08:00:00Z"}
    return {**row, "volume_transferred": volume, "status_code": "OK", "changed": changed}


def test_new_records_come_by_a_watermark_with_the_overlap(
    corridor: Corridor, api: OddApi, transactions: list[dict[str, Any]]
) -> None:
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    assert load(corridor).state == "unchanged"
    assert api.asked[-1].parameters["since"] == "2026-02-01T10:50:00Z"
    transactions.append(transaction(3, "2026-02-01T10:55:00Z"))  # late
    transactions[0] = transaction(1, "2026-02-01T12:00:00Z", volume=31)
    assert load(corridor).counts == LoadCounts(read=3, inserted=1, updated=1, unchanged=1)
    assert load(corridor).state == "unchanged"
    assert api.asked[-1].parameters["since"] == "2026-02-01T11:50:00Z"


def test_records_without_a_watermark_and_from_the_future_are_named(
    corridor: Corridor, api: OddApi, transactions: list[dict[str, Any]]
) -> None:
    transactions += [transaction(3, None), transaction(4, "2999-01-01T00:00:00Z")]
    outcome = load(corridor)
    assert outcome.counts.inserted == 4
    assert "1 record without changed" in outcome.message
    assert "1 record with a changed in the future" in outcome.message
    assert load(corridor).state == "unchanged"
    assert api.asked[-1].parameters["since"] == "2026-02-01T10:50:00Z"


def test_a_number_of_many_digits_leaves_the_numbers_beside_it_what_they_are(
    corridor: Corridor, api: OddApi, transactions: list[dict[str, Any]]
) -> None:
    let(corridor, paging="none", total_key="total")
    transactions[0]["changed"], transactions[1]["changed"] = 7, 1_700_000_000_000_000_000
    transactions[1]["digits"] = 12345678901234567890123
    api.reply = lambda _: Reply({"items": transactions, "total": 2})
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    assert load(corridor).state == "unchanged"
    transactions[1].pop("digits")
    assert load(corridor).counts == LoadCounts(read=2, unchanged=2)
    assert api.asked[-1].parameters["since"] == "1699999999999990000"  # less the overlap of a number


def test_watermarks_of_two_kinds_are_refused(corridor: Corridor, transactions: list[dict[str, Any]]) -> None:
    transactions[1]["changed"] = 7
    (outcome,) = corridor.load().outcomes
    assert "changed is 7 in one record and '2026-02-01T10:00:00Z' in another" in outcome.message


def test_what_does_not_grow_is_no_watermark(corridor: Corridor, transactions: list[dict[str, Any]]) -> None:
    for record in transactions:
        record["changed"] = ["2026"]
    (outcome,) = corridor.load().outcomes
    assert "a list, such as ['2026'], cannot be a watermark" in outcome.message


def test_an_api_without_new_records_changes_nothing(corridor: Corridor, transactions: list[dict[str, Any]]) -> None:
    load(corridor)
    transactions.clear()
    assert load(corridor).state == "unchanged"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"connection": ""}, "connection: the reader 'http_api' needs one"),
        ({"location": ""}, "location: the reader 'http_api' needs one"),
        ({"location": "machines/{day:%Y%m%d}"}, "location: only file names contain a day"),
        ({"drop": "corridor"}, "drop: only files have one"),
        ({"archive": "done"}, "archive: only files have one"),
        ({"settle_s": 60}, "settle_s: only files have one"),
        (
            {"options": {"paging": "pages"}},
            "options > paging: Input should be 'none', 'link', 'cursor', 'page', 'offset' or 'last_id'",
        ),
        ({"options": {"watermark": "changed"}}, "options > watermark: machines need the whole list"),
    ],
)
def test_a_catalog_that_cannot_work_is_refused_at_once(tmp_path: Path, entry: dict[str, Any], told: str) -> None:
    corridor = Corridor(tmp_path, sa.create_engine("sqlite://"))
    corridor.add_connected("machines", "machines", "http_api", location="machines", options={})
    corridor.sources[0] |= entry
    with pytest.raises(ConfigurationError, match=told):
        _ = corridor.catalog


def test_a_function_gets_the_keys_that_the_contract_does_not_know(corridor: Corridor, api: OddApi) -> None:
    api.reply = lambda _: Reply({"data": [{"id": "MCH-001", "ville": "Douala", "mise_en_service": "2010-05-01"}]})
    corridor.write(
        "transforms/machines.py",
        "def named(frame):\n"
        "    frame['year'] = frame.pop('mise_en_service').str[:4]\n"
        "    return frame.rename(columns={'ville': 'site'})\n",
    )
    corridor.sources[0]["transform"] = "machines.named"
    assert load(corridor).counts == LoadCounts(read=1, inserted=1)
    assert corridor.rows("dim_machines", "machine_id", "site_location", "installation_year") == [
        ("MCH-001", "Douala", 2010)
    ]
    assert load(corridor).state == "unchanged"
