"""Builds a new source from a sample: a catalog entry and a test; for a new dataset, its contract and migration too.

An installation has no tests, and its contracts and migrations are fixed: there, only the catalog entry is written.
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
from freight.contracts.headers import listed
from freight.errors import ConfigurationError, SourceError
from freight.frames import ROW_NUMBER
from freight.readers import reader_for
from freight.scaffold.cut import cut
from freight.scaffold.entries import entry_of, refuse_unfit, with_entry
from freight.scaffold.fit import Fit, best_fit, fit_to
from freight.scaffold.infer import NAME_CHARS, propose_contract
from freight.scaffold.render import contract_module, migration, source_test
from freight.scaffold.sample import READERS_OF_FILES, Sample, find_sample, plain_name, read_sample, reader_of
from freight.types import LoadCounts
from freight.validation import Locale, Split, split
from freight.warehouse.dictionary import render as dictionary
from freight.warehouse.migrate import newest_version
from freight.warehouse.schema import metadata

SLUG = re.compile(rf"[a-z][a-z0-9_]{{0,{NAME_CHARS - 1}}}")
CONTRACTS, MIGRATIONS, TESTS = "freight/contracts", "sql/migrations/versions", "tests/sources"
DICTIONARY = "docs/data-dictionary.md"
TEST_BYTES = 1 << 20  # a limit, since the data stays beside its test for ever

# An option in the remedy of a fault, as the catalog takes it, and the end of such a remedy.
IN_A_CATALOG = re.compile(r"""`options: \{(\w+): (["']?)(.*?)\2\}`""")
A_READER = re.compile(r"`reader: (\w+)`")
THEN_RETRY = ", then `dpa retry`"

NO_TEST = "the test that loads rows of the sample: only a checkout of DPA has tests, an installation does not"


@dataclass(frozen=True)
class Wish:
    """The request for a new source.

    Attributes:
        name: The name of the source.
        sample: A file of the source.
        dataset: The dataset of its rows; by default found by the header, or named like the source if it is new.
        key: The headers of a new dataset's key columns; guessed if empty.
        reader: The reader of the file; by default found by the file's name.
        options: The reader's options, as texts.
        rows: The number of the sample's rows that become data of the test.
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
    """The files to write for a new source.

    Attributes:
        contract: The contract of its dataset.
        is_new: Whether the dataset is new.
        new: The content of new files.
        changed: The content of existing files that are extended.
        data: The new file with rows of the sample; None if there is none.
        counts: The counts of a load of the sample's first rows.
        to_decide: The questions that a person must decide.
        left_out: The parts that only a checkout gets and this installation does not, with the reason.
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
        """Write all files; a new file that has been created in the meantime is not overwritten."""
        for path, content in self.new.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
        for path, content in self.changed.items():
            path.write_bytes(content)


def scaffold_source(wish: Wish, root: Path, catalog: Path, now: datetime) -> Scaffold:
    """Return the files of a new source, without writing them.

    Args:
        wish: The request.
        root: The folder that contains the package: a checkout of the project, or the folder of installed packages.
        catalog: The catalog for the source's entry.
        now: The instant against which dates of the sample are judged.

    Raises:
        ConfigurationError: A name is in use or invalid, the sample does not fit the request, a new dataset is
            requested outside a checkout, or a file to write already exists.
        SourceError: The sample cannot be read.
    """
    _refuse_before_reading(wish, root, catalog)
    sample = _read(wish)
    basis = _basis(wish, sample, root, now)
    entry = entry_of(wish.name, basis.contract.dataset, sample, wish.sample, catalog)
    changed = {catalog: with_entry(catalog, entry).encode()}
    rows = _first_rows(wish, sample, basis.contract, now)
    if not _is_checkout(root):
        return Scaffold(basis.contract, False, {}, changed, None, rows.counts, basis.questions, [NO_TEST])
    new = _of_a_test(rows, entry, root, now)
    if basis.is_new:
        new = {**_of_a_new_dataset(basis, root), **new}
        changed[root / DICTIONARY] = dictionary([*contracts().values(), basis.contract]).encode()
    _refuse_taken(new)
    data = _data(root, wish.name, rows.name)
    return Scaffold(basis.contract, basis.is_new, new, changed, data, rows.counts, basis.questions)


def _refuse_before_reading(wish: Wish, root: Path, catalog: Path) -> None:
    """Check what needs no sample, since reading a large one takes minutes."""
    _refuse_name("source", wish.name)
    refuse_unfit(catalog, wish.name)
    if wish.dataset and wish.dataset not in contracts():
        _refuse_name("dataset", wish.dataset)
        if not _is_checkout(root):
            raise _no_place_for(wish.dataset)


def _is_checkout(root: Path) -> bool:
    return (root / TESTS).is_dir() and (root / MIGRATIONS).is_dir()


def _refuse_taken(paths: Iterable[Path]) -> None:
    if taken := next((path for path in paths if path.exists()), None):
        raise ConfigurationError(f"{taken} already exists: choose another name, or remove it")


def _no_place_for(dataset: str) -> ConfigurationError:
    known = ", ".join(contract.dataset for contract in _of_files())
    return ConfigurationError(
        f"the sample needs a new dataset, {dataset}, but this is an installation of DPA: a contract and its migration "
        "are parts of DPA itself. Run this command in a checkout of the project, and install DPA from there. If the "
        f"sample belongs to one of the datasets {known}, name it with --dataset to see the differences"
    )


def _refuse_name(what: str, name: str) -> None:
    if not SLUG.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a {what}: use lower-case letters, digits and _, at most {NAME_CHARS}, "
            "and start with a letter"
        )


def _read(wish: Wish) -> Sample:
    file = find_sample(wish.sample, wish.options.get("members"))
    reader = wish.reader or reader_of(file)
    if reader not in READERS_OF_FILES:
        raise ConfigurationError(f"--reader {reader}: the readers of files are {', '.join(READERS_OF_FILES)}")
    options = reader_for(reader).options.of_texts(wish.options).model_dump(exclude_unset=True)
    try:
        sample = read_sample(file, reader, options, _possible(wish.dataset))
    except SourceError as error:
        error.remedy = _for_the_command_line(error.remedy)
        raise
    if options.get("skip_rows_where") and not sample.skipped:
        raise ConfigurationError("--option skip_rows_where: no row of the sample matches: correct it, or leave it out")
    return sample


def _for_the_command_line(remedy: str) -> str:
    """Return a remedy with the options of this command in place of those of a catalog, where the source is not yet."""
    of_command = A_READER.sub(r"`--reader \1`", IN_A_CATALOG.sub(_as_option, remedy))
    return of_command.replace(" in the catalog", "").replace(THEN_RETRY, "")


def _as_option(found: re.Match[str]) -> str:
    quote = "'" if '"' in found[3] else '"'
    return f"`--option {quote}{found[1]}={found[3]}{quote}`"


def _possible(dataset: str | None) -> list[Contract]:
    """Return the datasets to which the rows may belong; none for a new dataset."""
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
        contract: The existing or proposed contract, which accepts the sample.
        is_new: Whether the dataset is new.
        to_decide: The questions that a person must decide, by column.
    """

    contract: Contract
    is_new: bool
    to_decide: Mapping[str, Sequence[str]]

    @property
    def questions(self) -> list[str]:
        """The questions that a person must decide, for the terminal."""
        return [f"{name or self.contract.dataset}: {text}" for name, texts in self.to_decide.items() for text in texts]


def _basis(wish: Wish, sample: Sample, root: Path, now: datetime) -> _Basis:
    fit = _fit(wish.dataset, sample, now)
    if fit is None and not _is_checkout(root):
        raise _no_place_for(wish.dataset or wish.name)
    if fit is None:
        return _new_dataset(wish, sample, now)
    if wish.key:
        raise ConfigurationError(f"--key: the contract of {fit.contract.dataset} defines its key: leave the option out")
    remedy = f"if so, add it to its aliases in {CONTRACTS}/{fit.contract.dataset}.py"
    to_decide = {column: [f"whether its header is {alias!r}: {remedy}"] for column, alias in fit.aliases.items()}
    return _Basis(fit.amended, is_new=False, to_decide=to_decide)


def _new_dataset(wish: Wish, sample: Sample, now: datetime) -> _Basis:
    dataset = wish.dataset or wish.name
    _refuse_name("dataset", dataset)
    order = max(contract.load_order for contract in contracts().values()) + 10
    proposal = propose_contract(sample, dataset, wish.key, order, LOCAL_ZONE, now)
    if proposal.contract.table in metadata.tables:
        raise ConfigurationError(f"the warehouse already has a table {proposal.contract.table}: name another dataset")
    return _Basis(proposal.contract, is_new=True, to_decide=proposal.to_decide)


def _fit(dataset: str | None, sample: Sample, now: datetime) -> Fit | None:
    """Return the fit of a sample to the named dataset, or to the best one; None for a new dataset."""
    if dataset is None:
        return best_fit(sample, _of_files(), LOCAL_ZONE, now)
    return _fit_as_named(dataset, sample, now) if dataset in contracts() else None


def _fit_as_named(dataset: str, sample: Sample, now: datetime) -> Fit:
    """Return the fit of a sample to the named dataset.

    Raises:
        ConfigurationError: The sample does not fit.
    """
    contract = contracts()[dataset]
    if contract.immutable:
        raise ConfigurationError(f"{dataset} come from a stream, not from files: name another dataset")
    fit = fit_to(sample, contract, LOCAL_ZONE, now)
    if fit.missing or fit.unknown:
        lacks = f"lacks {listed(fit.missing)}" if fit.missing else f"also has {listed(fit.unknown)}"
        raise ConfigurationError(
            f"the sample does not fit {dataset}: its header {lacks}. Correct the export or the contract, or name a new "
            "dataset with --dataset"
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
        name: The file's name.
        content: The file's content.
        counts: The counts of a load of its rows.
        row: One of these rows, as stored in the warehouse.
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
        ConfigurationError: The rows are too large to keep.
    """
    if len(rows.content) > TEST_BYTES:
        raise ConfigurationError(
            f"{rows.name} is too large for a test, even after a cut: use a sample of at most {TEST_BYTES >> 20} MiB"
        )
    name = entry["name"]
    test = source_test(entry, rows.name, rows.counts, rows.row, now)
    return {_data(root, name, rows.name): rows.content, root / TESTS / f"test_{name}.py": test.encode()}


def _data(root: Path, name: str, file: str) -> Path:
    return root / TESTS / "data" / name / file


def _loaded(
    content: bytes, name: str, sample: Sample, contract: Contract, now: datetime
) -> tuple[LoadCounts, dict[str, Any]]:
    """Return the counts of a load of a file, and one of its rows as the warehouse will store it.

    Raises:
        ConfigurationError: So many rows break the contract that nothing would load.
    """
    with tempfile.TemporaryDirectory(prefix="dpa-sample-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        copy = read_sample(find_sample(path), sample.reader, sample.options, [contract])
    halves = split(copy.conformed(contract), contract, Locale(copy.notation, LOCAL_ZONE), now)
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
        f"({'; '.join(reasons) or 'they cannot be split into cells'}): use another sample, or name a new dataset with "
        "--dataset"
    )


def _fullest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the row with the fewest empty cells, which tests most."""
    empty = rows.select(pl.sum_horizontal(pl.exclude(ROW_NUMBER).is_null())).to_series()
    return rows.slice(empty.arg_min() or 0, 1)
