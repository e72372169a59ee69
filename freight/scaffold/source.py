"""A new source from a sample: a catalog entry and a test; of a new dataset its contract and migration as well.

An installation has no tests, and takes contracts and migrations as they are: there it is the catalog entry alone.
"""

import keyword
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from freight.catalog import DEFAULT_QUARANTINE_LIMIT
from freight.contracts import LOCAL_ZONE, Contract, contracts
from freight.contracts.dictionary import render as dictionary
from freight.contracts.headers import listed
from freight.errors import ConfigurationError
from freight.frames import ROW_NUMBER
from freight.readers import reader_for
from freight.scaffold.cut import cut
from freight.scaffold.entries import entry_of, with_entry
from freight.scaffold.fit import Fit, best_fit, fit_to
from freight.scaffold.infer import NAME_CHARS, propose_contract
from freight.scaffold.render import contract_module, migration, source_test
from freight.scaffold.sample import READERS_BY_SUFFIX, Sample, find_sample, plain_name, read_sample, reader_of
from freight.types import LoadCounts
from freight.validation import Locale, Split, split
from freight.warehouse.migrate import newest_version
from freight.warehouse.schema import metadata

SLUG = re.compile(rf"[a-z][a-z0-9_]{{0,{NAME_CHARS - 1}}}")
CONTRACTS, MIGRATIONS, TESTS = "freight/contracts", "sql/migrations/versions", "tests/sources"
DICTIONARY = "docs/data-dictionary.md"
TEST_BYTES = 1 << 20  # of what is kept for ever beside a test

NO_TEST = "the test that loads rows of the sample: a checkout of DPA has tests, an installation has none"


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        name: of the source.
        sample: a file of it.
        dataset: of its rows; found by the header without one, and called like the source if it is new.
        key: headers of the columns that tell rows of a new dataset apart; guessed if there is none.
        reader: of the file; found by its name without one.
        options: of the reader, as texts.
        rows: how many of the sample become data of the test.
    """

    name: str
    sample: Path
    dataset: str | None = None
    key: Sequence[str] = ()
    reader: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    rows: int = 20


@dataclass(frozen=True)
class Scaffold:
    """What there is to write for a new source.

    Attributes:
        contract: of its dataset.
        is_new: whether there was no such dataset.
        new: content of files that are not there yet.
        changed: content of files that get more.
        data: The new file that holds rows of the sample; None if there is none.
        counts: How the first rows of the sample end when they are loaded.
        to_decide: What a person has to decide.
        left_out: What a checkout would get and this installation does not, and why.
    """

    contract: Contract
    is_new: bool
    new: Mapping[Path, bytes]
    changed: Mapping[Path, bytes]
    data: Path | None
    counts: LoadCounts
    to_decide: Sequence[str]
    left_out: Sequence[str] = ()

    def write(self) -> None:
        """Write all of it; a file that came to be meanwhile stays as it is."""
        for path, content in self.new.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
        for path, content in self.changed.items():
            path.write_bytes(content)


def scaffold_source(wish: Wish, root: Path, catalog: Path, now: datetime) -> Scaffold:
    """Return what a new source needs; nothing is written yet.

    Args:
        wish: The wish.
        root: The folder in which the package stands: a checkout of the project, or where packages are installed.
        catalog: The catalog that lists the source from now on.
        now: The instant against which dates of the sample are judged.

    Raises:
        ConfigurationError: A name is in use or cannot be one, the sample fits the wish in no way, a new dataset has no
            checkout to go into, or something to be written is there already.
        SourceError: The sample cannot be read.
    """
    _refuse_name("source", wish.name)
    sample = _read(wish)
    basis = _basis(wish, sample, root, now)
    entry = entry_of(wish.name, basis.contract.dataset, sample, wish.sample, catalog)
    changed = {catalog: with_entry(catalog, entry).encode()}
    rows = _first_rows(wish, sample, basis.contract, now)
    if not _is_checkout(root):
        return Scaffold(basis.contract, False, {}, changed, None, rows.counts, basis.told, [NO_TEST])
    new = _of_a_test(rows, entry, root, now)
    if basis.is_new:
        new = {**_of_a_new_dataset(basis, root), **new}
        changed[root / DICTIONARY] = dictionary([*contracts().values(), basis.contract]).encode()
    _refuse_taken(new)
    data = _data(root, wish.name, rows.name)
    return Scaffold(basis.contract, basis.is_new, new, changed, data, rows.counts, basis.told)


def _is_checkout(root: Path) -> bool:
    return (root / TESTS).is_dir() and (root / MIGRATIONS).is_dir()


def _refuse_taken(paths: Iterable[Path]) -> None:
    if taken := next((path for path in paths if path.exists()), None):
        raise ConfigurationError(f"{taken} is there already: choose another name, or remove it")


def _no_place_for(dataset: str) -> ConfigurationError:
    known = ", ".join(contract.dataset for contract in _of_files())
    return ConfigurationError(
        f"the sample is of a new dataset, {dataset}, and this is an installation of DPA: a contract and its migration "
        "are parts of DPA itself. Run this command in a checkout of the project, and install DPA from there. If the "
        f"sample is of one of the datasets {known}, name that one with --dataset to see what differs"
    )


def _refuse_name(what: str, name: str) -> None:
    if not SLUG.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a {what}: lower-case letters, digits and _, at most {NAME_CHARS}, "
            "a letter first"
        )


def _read(wish: Wish) -> Sample:
    file = find_sample(wish.sample)
    reader = wish.reader or reader_of(file)
    if reader not in READERS_BY_SUFFIX:
        raise ConfigurationError(f"--reader {reader}: the readers of files are {', '.join(READERS_BY_SUFFIX)}")
    options = reader_for(reader).options.of_texts(wish.options).model_dump(exclude_unset=True)
    return read_sample(file, reader, options, _possible(wish.dataset))


def _possible(dataset: str | None) -> list[Contract]:
    """Return the datasets of which the rows may be; none if it is a new one."""
    if dataset is None:
        return _of_files()
    return [contracts()[dataset]] if dataset in contracts() else []


def _of_files() -> list[Contract]:
    return [contract for contract in contracts().values() if not contract.immutable]


# --- The dataset -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Basis:
    """The dataset of a source.

    Attributes:
        contract: as it is, or shall be: it takes the sample.
        is_new: whether there is none yet.
        to_decide: what a person has to, by column.
    """

    contract: Contract
    is_new: bool
    to_decide: Mapping[str, Sequence[str]]

    @property
    def told(self) -> list[str]:
        """What a person has to decide, for the terminal."""
        return [f"{name or self.contract.dataset}: {text}" for name, texts in self.to_decide.items() for text in texts]


def _basis(wish: Wish, sample: Sample, root: Path, now: datetime) -> _Basis:
    fit = _fit(wish.dataset, sample, now)
    if fit is None and not _is_checkout(root):
        raise _no_place_for(wish.dataset or wish.name)
    if fit is None:
        return _new_dataset(wish, sample, now)
    if wish.key:
        raise ConfigurationError(f"--key: the key of {fit.contract.dataset} is that of its contract: leave it out")
    remedy = f"add it to its aliases in {CONTRACTS}/{fit.contract.dataset}.py"
    to_decide = {column: [f"whether {alias!r} stands for it: {remedy}"] for column, alias in fit.aliases.items()}
    return _Basis(fit.amended, is_new=False, to_decide=to_decide)


def _new_dataset(wish: Wish, sample: Sample, now: datetime) -> _Basis:
    dataset = wish.dataset or wish.name
    _refuse_name("dataset", dataset)
    order = max(contract.load_order for contract in contracts().values()) + 10
    proposal = propose_contract(sample, dataset, wish.key, order, LOCAL_ZONE, now)
    if proposal.contract.table in metadata.tables:
        raise ConfigurationError(f"the warehouse has a table {proposal.contract.table} already: name another dataset")
    return _Basis(proposal.contract, is_new=True, to_decide=proposal.to_decide)


def _fit(dataset: str | None, sample: Sample, now: datetime) -> Fit | None:
    """Return how a sample fits the dataset that is named, or that fits it best; None if it is a new one."""
    if dataset is None:
        return best_fit(sample, _of_files(), LOCAL_ZONE, now)
    return _fit_as_named(dataset, sample, now) if dataset in contracts() else None


def _fit_as_named(dataset: str, sample: Sample, now: datetime) -> Fit:
    """Return how a sample fits the dataset that it is said to be of.

    Raises:
        ConfigurationError: it does not.
    """
    contract = contracts()[dataset]
    if contract.immutable:
        raise ConfigurationError(f"{dataset} come by a stream, not by files: name another dataset")
    fit = fit_to(sample, contract, LOCAL_ZONE, now)
    if fit.missing or fit.unknown:
        lacks = f"lacks {listed(fit.missing)}" if fit.missing else f"has {listed(fit.unknown)} besides"
        raise ConfigurationError(
            f"the sample is not of {dataset}: its header {lacks}. Correct the export or the contract, or name a new "
            "dataset in --dataset"
        )
    return fit


def _of_a_new_dataset(basis: _Basis, root: Path) -> dict[Path, bytes]:
    before = newest_version()
    revision = f"{int(before) + 1:04d}"
    module = f"{CONTRACTS}/{basis.contract.dataset}.py"
    script = f"{MIGRATIONS}/{revision}_{basis.contract.dataset}.py"
    return {
        root / module: contract_module(basis.contract, basis.to_decide).encode(),
        root / script: migration(basis.contract, revision, before).encode(),
    }


# --- The rows of the test ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """A file with the first rows of a sample.

    Attributes:
        name: Its name.
        content: Its content.
        counts: How its rows end when they are loaded.
        row: One of these rows, as the warehouse has it.
    """

    name: str
    content: bytes
    counts: LoadCounts
    row: Mapping[str, Any]


def _first_rows(wish: Wish, sample: Sample, contract: Contract, now: datetime) -> _Rows:
    name = re.sub(r"[^\w.-]+", "_", plain_name(sample.file))
    content = cut(sample, contract, wish.rows)
    return _Rows(name, content, *_loaded(content, name, sample, contract, now))


def _of_a_test(rows: _Rows, entry: Mapping[str, Any], root: Path, now: datetime) -> dict[Path, bytes]:
    """Return the files of a test.

    Raises:
        ConfigurationError: The rows are too many bytes to be kept.
    """
    if len(rows.content) > TEST_BYTES:
        raise ConfigurationError(
            f"{rows.name} is too large for a test, even if it was cut: take one of at most "
            f"{TEST_BYTES >> 20} MiB as the sample"
        )
    name = entry["name"]
    test = source_test(entry, rows.name, rows.counts, rows.row, now)
    return {_data(root, name, rows.name): rows.content, root / TESTS / f"test_{name}.py": test.encode()}


def _data(root: Path, name: str, file: str) -> Path:
    return root / TESTS / "data" / name / file


def _loaded(
    content: bytes, name: str, sample: Sample, contract: Contract, now: datetime
) -> tuple[LoadCounts, dict[str, Any]]:
    """Return how the rows of a file end when it is loaded, and one of them as the warehouse will have it.

    Raises:
        ConfigurationError: so many of them break the contract that nothing would load.
    """
    with tempfile.TemporaryDirectory(prefix="dpa-sample-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        copy = read_sample(find_sample(path), sample.reader, sample.options, [contract])
    halves = split(copy.conformed(contract), contract, Locale(copy.numbers, LOCAL_ZONE), now)
    kept = halves.valid.unique(contract.business_key, keep="last", maintain_order=True)
    counts = LoadCounts(
        read=copy.read,
        inserted=kept.height,
        superseded=halves.valid.height - kept.height,
        quarantined=copy.faults + halves.quarantined.height,
    )
    if kept.is_empty() or counts.quarantined > DEFAULT_QUARANTINE_LIMIT * counts.read:
        raise _too_many_bad_rows(counts, halves, contract)
    return counts, _fullest(kept).select(contract.column_names).row(0, named=True)


def _too_many_bad_rows(counts: LoadCounts, halves: Split, contract: Contract) -> ConfigurationError:
    reasons = halves.quarantined["detail"].value_counts(sort=True).head(3)["detail"].to_list()
    return ConfigurationError(
        f"{counts.quarantined} of {counts.read} rows of the sample break the contract of {contract.dataset} "
        f"({'; '.join(reasons) or 'they cannot be cut into cells'}): take another sample, or name a new dataset in "
        "--dataset"
    )


def _fullest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the row with the fewest empty cells, which says most."""
    empty = rows.select(pl.sum_horizontal(pl.exclude(ROW_NUMBER).is_null())).to_series()
    return rows.slice(empty.arg_min() or 0, 1)
