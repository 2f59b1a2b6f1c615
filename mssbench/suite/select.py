"""Load the suite that a command line names, as its options --set, --only and others change it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from mssbench import problems
from mssbench.errors import (
    NotInstalled,
    RegistryError,
    RunError,
    SuiteError,
    TableError,
    Unavailable,
    Unsupported,
)
from mssbench.machine import devices
from mssbench.problems.file_checks import Kinds
from mssbench.problems.files import problem_of
from mssbench.records.cell import CELL_KEY
from mssbench.records.schema import SCHEMA
from mssbench.registries import load_file
from mssbench.results.conditions import read, why_empty
from mssbench.results.labels import LABELS, labels
from mssbench.results.rows import SUITE
from mssbench.suite import shards
from mssbench.suite import suite as suites
from mssbench.suite.expand import check_word
from mssbench.suite.ranges import as_list
from mssbench.suite.suite import OwnMatrices, Suite

# The columns of a cell, and whether each contains text.
_COLUMNS = {c.name: c.kind == "str" for c in SCHEMA if c.name in CELL_KEY} | dict.fromkeys(
    LABELS, True
)


def choose(
    name: str,
    overrides: Sequence[str],
    only: str | None,
    effort: str | None,
    device: str | None,
    also: Sequence[Path],
    *,
    own: OwnMatrices | None = None,
    elsewhere: bool = False,
    shard: str | None = None,
    auto: str | None = None,
) -> Suite:
    """Return the suite that a command line asks for.

    name: of a suite, or the path of its file. overrides: texts such as `size=16,32`. only: a
    condition that cells must satisfy. effort: how long to sample, a word such as `quick`. device:
    replaces the suite's devices. also: the user's files of methods and problems. own: matrices that
    replace those of the suite, see `own_matrices`. elsewhere: whether the device may be missing,
    because nothing is measured here. shard: which part of the cells is measured, such as `2/4`.
    auto: the device that `auto` stands for; by default that of this machine.

    Raises SuiteError for a suite, value or condition that is wrong, RegistryError for a file in
    `also` that cannot be loaded, and RunError if the device is missing.
    """
    for file in also:
        load_file(file)

    chosen = suites.load(
        suites.find(name),
        auto=auto or devices.default_device(),
        device=device,
        overrides=overrides,
        effort=effort,
        own=own,
    )

    if only is not None:
        chosen = _narrow(chosen, only)
    if shard is not None:
        chosen = chosen.sharded(shards.parse(shard))
    if not elsewhere:
        _refuse_missing_device(chosen)
    return chosen


def of_run(folder: Path, conditions: Iterable[str], digest: str) -> Suite | None:
    """Return the suite that the shards in a folder are of, or None if it cannot be told here.

    It cannot if a method or problem is not installed here. conditions: those of --only that its
    runs had. digest: of that suite, see `Suite.digest`.
    """
    for auto in ("cpu", "cuda"):
        try:
            suite = suites.load(folder / SUITE, auto=auto)
            for only in {"", *conditions}:
                narrowed = _narrow(suite, only) if only else suite
                if narrowed.digest == digest:
                    return narrowed
        except (SuiteError, NotInstalled):
            continue
    return None


def own_matrices(path: Path | None, key: str | None, kind: str | None) -> OwnMatrices | None:
    """Return the matrices of `--matrices`, or None if it is not given.

    path, key, kind: the values of --matrices, --key and --kind. Raises SuiteError for a file that
    cannot be used, an unknown kind, or a key or kind without a file.
    """
    if path is None:
        if option := "--key" if key else "--kind" if kind else "":
            raise SuiteError(f"{option} needs the file that it applies to: --matrices FILE.")
        return None

    if not str(path).isprintable() and any("\udc80" <= c <= "\udcff" for c in str(path)):
        raise SuiteError(f"--matrices: {str(path)!r} is not UTF-8, as a suite must be: rename it.")
    if kind is not None:
        check_word("kind", kind, get_args(Kinds), "--kind: ")

    try:
        problem, size, count = problem_of(str(path), key or "", kind or "auto")  # type: ignore[arg-type]
    except (RegistryError, NotInstalled, Unsupported) as error:
        raise SuiteError(f"--matrices: {error}") from None
    return OwnMatrices(path.stem, problem, size, count)


def read_from_outside(chosen: Suite) -> Iterator[str]:
    """Yield a line for each file that matrices of the suite come from: what was read from it."""
    batches: dict[str, set[int]] = {}
    precisions: dict[str, dict[str, None]] = {}  # in the order of the cells
    for cell in chosen.cells:
        batches.setdefault(cell.problem, set()).add(cell.batch)
        precisions.setdefault(cell.problem, {})[cell.precision] = None

    for text, sizes in batches.items():
        try:
            line = problems.describe(text, sizes, precisions[text])
        except NotInstalled:  # the problem of a plug-in: its cells become rows with that status
            continue

        if line:
            yield line


def _narrow(chosen: Suite, only: str) -> Suite:
    """Return the suite with only the cells that satisfy the condition of --only.

    Raises SuiteError if no cell does, or if the condition is wrong.
    """
    rows = [(row := {k: getattr(c, k) for k in CELL_KEY}) | labels(row) for c in chosen.cells]
    try:
        holds = read(only, _COLUMNS, "--only")
    except TableError as error:
        raise SuiteError(str(error)) from None

    kept = [cell for cell, row in zip(chosen.cells, rows, strict=True) if holds(row)]
    if not kept:
        hint = why_empty(rows, only)
        raise SuiteError(f"--only {only!r} leaves none of the {len(rows)} cells.{hint}")
    return chosen.only(kept, only)


def _refuse_missing_device(chosen: Suite) -> None:
    """Raise RunError if the suite or the user asks for CUDA and no library can use it here."""
    document = chosen.document
    named = [document["axes"].get("device"), *(m.get("device") for m in document["method"])]
    libraries = dict.fromkeys(c.library for c in chosen.cells if c.device == "cuda")
    if not any("cuda" in as_list(each) for each in named) or not libraries:
        return

    reasons = []
    for library in libraries:
        try:
            devices.check_library(library, "cuda")
        except (NotInstalled, Unavailable) as error:
            reasons.append(str(error))
        else:
            return

    why = "; ".join(dict.fromkeys(reasons))  # two libraries often have the same reason
    raise RunError(f"device cuda is not available: {why}. Use --device cpu or --device auto.")
