"""The suite that a command line asks for: named, overridden, narrowed."""

from collections.abc import Sequence
from pathlib import Path

from mssbench.errors import NotInstalled, RunError, SuiteError, TableError, Unavailable
from mssbench.machine import devices
from mssbench.records.cell import CELL_KEY
from mssbench.records.schema import SCHEMA
from mssbench.registries import load_file
from mssbench.results.conditions import read, why_empty
from mssbench.results.labels import LABELS, labels
from mssbench.suite import suite as suites
from mssbench.suite.ranges import as_list
from mssbench.suite.suite import Suite

# The columns of a cell, and whether each holds text.
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
    elsewhere: bool = False,
) -> Suite:
    """The suite as asked for. Raises SuiteError, or RunError for a device that is not there.

    elsewhere: whether the device may be missing, as nothing is measured here.
    """
    for file in also:
        load_file(file)
    chosen = suites.load(
        suites.find(name),
        auto=devices.default_device(),
        device=device,
        overrides=overrides,
        effort=effort,
    )
    if only is not None:
        chosen = _narrow(chosen, only)
    if not elsewhere:
        _refuse_missing_device(chosen)
    return chosen


def _narrow(chosen: Suite, only: str) -> Suite:
    """The cells of a suite for which a condition holds. Raises SuiteError where none is left."""
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
    """Raise RunError where the suite or the user names CUDA and none of its libraries has it."""
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
    said = "; ".join(dict.fromkeys(reasons))  # of two libraries often the same
    raise RunError(f"device cuda is not there: {said}. Use --device cpu, or leave it to `auto`.")
