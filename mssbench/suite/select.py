"""The suite that a command line asks for: named, overridden, narrowed."""

from collections.abc import Sequence
from pathlib import Path

from mssbench.errors import NotInstalled, RunError, SuiteError, TableError, Unavailable
from mssbench.machine import devices
from mssbench.methods import registry
from mssbench.records.cell import CELL_KEY
from mssbench.suite import suite as suites
from mssbench.suite.ranges import as_list
from mssbench.suite.suite import Suite


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

    elsewhere: it need not be there.
    """
    for file in also:
        registry.load_file(file)
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
    import pandas as pd  # half the time of a dry run, and only this needs it

    from mssbench.results.conditions import select, why_empty
    from mssbench.results.labels import with_labels

    frame = pd.DataFrame([{k: getattr(c, k) for k in CELL_KEY} for c in chosen.cells])
    steps = ["iterations", "backward_iterations"]
    frame = with_labels(frame.astype(dict.fromkeys(steps, "Int64")))
    try:
        kept = select(frame, only).index
    except TableError as error:
        raise SuiteError(f"--only {error}") from None
    if not len(kept):
        hint = why_empty(frame, only)
        raise SuiteError(f"--only {only!r} leaves none of the {len(frame)} cells.{hint}")
    return chosen.only((chosen.cells[i] for i in kept), only)


def _refuse_missing_device(chosen: Suite) -> None:
    """CUDA that the suite or the user names must be there for one library; `auto` asks for less."""
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
