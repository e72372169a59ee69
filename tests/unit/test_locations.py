"""Where a catalog finds files."""

import os
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from freight.catalog import Catalog, Source
from freight.errors import ConfigurationError
from freight.readers import find_files

DATED = "erp/{day:%Y/%m}/{day:%d}_*.csv"
DAY = date(2026, 2, 3)


def source(location: str, name: str = "erp") -> Source:
    return Source(name=name, dataset="transactions", reader="csv", location=location)


def write(folder: Path, name: str, content: str = "x") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def found(location: str, folder: Path) -> list[str]:
    return [file.path for file in find_files(location, folder)]


def test_links_are_the_files_to_which_they_lead(tmp_path: Path) -> None:
    """As a mounted ConfigMap shows its files; a change of the file counts, that of the link does not."""
    file = write(tmp_path, "kept/erp.csv", "four")
    os.utime(file, (1_000, 1_000))
    (tmp_path / "link.csv").symlink_to(file)
    (tmp_path / "nowhere.csv").symlink_to(tmp_path / "gone.csv")
    (tmp_path / "folder.csv").symlink_to(tmp_path / "kept")
    (link,) = find_files("*.csv", tmp_path)
    assert (link.path, link.size_bytes, link.modified_us) == ("link.csv", 4, 1_000_000_000)
    link.refuse_if_changed()
    with link.open() as stream:
        assert stream.read() == b"four"


def test_a_day_in_a_location_is_any_day_or_a_certain_one(tmp_path: Path) -> None:
    for name in ("erp/2026/02/03_a.csv", "erp/2026/02/04_a.csv", "erp/2026/02/old_a.csv", "erp/2026/xx/03_a.csv"):
        write(tmp_path, name)
    assert found(source(DATED).of_all_days, tmp_path) == ["erp/2026/02/03_a.csv", "erp/2026/02/04_a.csv"]
    assert found(source(DATED).on_day(DAY).location, tmp_path) == ["erp/2026/02/03_a.csv"]
    assert source("erp/*.csv").of_all_days == "erp/*.csv"


def test_the_archive_of_a_day_is_that_of_all_days() -> None:
    assert source(DATED).model_copy(update={"archive": "done"}).on_day(DAY).archive == "done/2026/02"
    assert source("{day:%Y%m%d}.csv").model_copy(update={"archive": "done"}).on_day(DAY).archive == "done"
    assert source(DATED).on_day(DAY).archive is None


@pytest.mark.parametrize(
    "location", ["{day:%Y%m}.csv", "{day:%d}.csv", "{day:%y%m%d}.csv", "{day:%Y%m%d%H}.csv", "{day:x}"]
)
def test_a_location_that_tells_no_whole_day_is_refused(location: str) -> None:
    with pytest.raises(ValidationError, match="a day in a location needs %Y, %m and %d"):
        source(location)


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/m.csv", "HTTPS://u:canary@erp/*.csv", "simplecache::http://erp/machines.csv"]
)
def test_no_file_is_read_over_http(location: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="use the reader http_api for an API") as refused:
        find_files(location, tmp_path)
    assert "canary" not in str(refused.value)


def test_some_sources_of_a_catalog(tmp_path: Path) -> None:
    catalog = Catalog(sources=(source(DATED), source("*.csv", "undated")), folder=tmp_path)
    assert [s.name for s in catalog.only(None).sources] == ["erp", "undated"]
    assert [s.name for s in catalog.only(["undated"]).sources] == ["undated"]
    assert [s.location for s in catalog.only(None, dated=True).on_day(DAY).sources] == ["erp/2026/02/03_*.csv"]
    with pytest.raises(ConfigurationError, match="has no source 'rail': it has erp, undated"):
        catalog.only(["rail"])
    with pytest.raises(ConfigurationError, match="the location of undated contains no day"):
        catalog.only(["erp", "undated"], dated=True)
