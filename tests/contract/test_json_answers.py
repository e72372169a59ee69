"""JSON files that are answers: what stands beside the records must fit them, as for an API."""

import json
from pathlib import Path
from typing import Any

import pytest

from freight.parsers.json_records import PIECE_BYTES
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import MACHINES, Corridor

MORE = [{**machine, "machine_id": f"MCH-90{number}"} for number, machine in enumerate(MACHINES)]


@pytest.fixture
def corridor(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    return Corridor(tmp_path, sqlite_warehouse.engine)


def outcome(corridor: Corridor, document: object, **options: object) -> str:
    """Load a file of machines; return the number of rows that load, or the reason why it fails."""
    corridor.add_source("machines", "machines", "json", "machines*.json", options=options)
    corridor.write("machines_20260201.json", json.dumps(document))
    (ended,) = corridor.load().outcomes
    return ended.message if ended.state == "failed" else f"{ended.counts.inserted} of {ended.counts.read}"


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"has_more": True}, "its has_more is true"),
        ({"last": False}, "its last is false"),
        ({"next": "https://erp/machines?page=2"}, "its next names a next page"),
        ({"meta": {"next_cursor": "b2"}}, "its meta.next_cursor names a next page"),
        ({"total": 5}, "its total says 5, and 2 records came"),
        ({"total": 1}, "its total says 1, and 2 records came"),
        ({"count": "3"}, "its count says 3, and 2 records came"),
        ({"pagination": {"total_pages": 2}}, "its pagination.total_pages says 2"),
        ({"errors": ["site 2 is away"]}, "it has 'errors' beside its records"),
        ({"error": "timeout"}, "it has 'error' beside its records"),
        ({"partial": True}, "it has 'partial' beside its records"),
        ({"meta": {"pagination": {"current_page": 1, "last_page": 9}}}, "its meta.pagination.last_page says 9"),
        ({"pagination": {"page": 1, "pages": 10}}, "its pagination.pages says 10"),
        ({"meta": {"page": {"total": 40}}}, "its meta.page.total says 40, and 2 records came"),
        ({"links": [{"rel": "next", "href": "/t?page=2"}]}, "its links.next names a next page"),
        ({"truncated": True}, "its truncated is true"),
    ],
    ids=str,
)
def test_a_file_that_is_not_the_whole_list_is_refused(corridor: Corridor, beside: dict[str, Any], told: str) -> None:
    for document, options in (
        ({"data": MACHINES, **beside}, {}),
        ({"response": {"result": {"items": MACHINES, **beside}}}, {"records": "response.result.items"}),
    ):
        corridor.sources.clear()
        message = outcome(corridor, document, **options)
        assert told in message
        assert "options: {" in message
        assert corridor.stored("machines") == []


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"success": False}, "its success is false"),
        ({"status": "error", "message": "timeout"}, "its status is 'error'"),
    ],
    ids=str,
)
def test_a_file_that_says_that_it_failed_is_refused(corridor: Corridor, beside: dict[str, Any], told: str) -> None:
    message = outcome(corridor, {"data": MACHINES, **beside})
    assert told in message
    assert corridor.stored("machines") == []


@pytest.mark.parametrize(
    ("beside", "options"),
    [
        ({"total": 2, "count": 2, "has_more": False, "next": None, "errors": [], "partial": False, "page": 1}, {}),
        ({"total": 5, "next": "?page=2", "has_more": True}, {"pages": True}),
        ({"total": 5}, {"total_key": ""}),
        ({"delivered": 2, "total": 5}, {"total_key": "delivered"}),
        ({"partial": "Douala"}, {"absent_keys": ["errors"]}),
        ({"links": [{"rel": "self"}], "columns": ["machine_id"]}, {}),
    ],
    ids=str,
)
def test_what_stands_beside_a_whole_list_does_no_harm(
    corridor: Corridor, beside: dict[str, Any], options: dict[str, Any]
) -> None:
    assert outcome(corridor, {**beside, "data": MACHINES}, **options) == "2 of 2"


def test_a_stated_total_must_fit(corridor: Corridor) -> None:
    told = outcome(corridor, {"data": MACHINES, "delivered": 4}, total_key="delivered")
    assert "its delivered says 4, and 2 records came" in told


@pytest.mark.parametrize("first", ["data", "other", "items"])
@pytest.mark.parametrize("second", ["data", "other", "items"])
def test_of_several_lists_the_catalog_names_the_one(corridor: Corridor, first: str, second: str) -> None:
    if first == second:
        pytest.skip("one list")
    told = outcome(corridor, {first: MACHINES, second: MORE})
    assert "the JSON has several lists: " in told
    assert f"`options: {{records: {second}}}`" in told
    corridor.sources.clear()
    assert outcome(corridor, {first: MACHINES, second: [*MORE, *MACHINES]}, records=second) == "4 of 4"


def test_an_empty_usual_list_does_not_hide_another_one(corridor: Corridor) -> None:
    assert "several lists: 'machines', 'data'" in outcome(corridor, {"data": [], "machines": MACHINES})


def test_a_list_may_lie_in_an_object(corridor: Corridor) -> None:
    document = {"answer": {"machines": MACHINES}}
    assert "`options: {records: answer.machines}`" in outcome(corridor, document)
    corridor.sources.clear()
    assert outcome(corridor, {**document, "total": 2}, records="answer.machines") == "2 of 2"


def test_a_long_list_is_judged_with_all_of_its_records(corridor: Corridor) -> None:
    machines = [{**MACHINES[0], "machine_id": f"MCH-{number}"} for number in range(100, 1_000)] * 20
    told = outcome(corridor, {"rows": machines, "total": 17_999}, records="rows")
    assert "its total says 17999, and 18000 records came" in told
    assert len(json.dumps(machines)) > PIECE_BYTES


@pytest.mark.parametrize(
    ("document", "path"),
    [({"content": MACHINES}, "content"), ({"_embedded": {"items": MACHINES}}, "_embedded.items")],
)
def test_a_list_in_another_place_is_named_by_its_path(corridor: Corridor, document: dict[str, Any], path: str) -> None:
    assert f"`options: {{records: {path}}}`" in outcome(corridor, document)
    corridor.sources.clear()
    assert outcome(corridor, {**document, "note": "the same list"}, records=path) == "2 of 2"
