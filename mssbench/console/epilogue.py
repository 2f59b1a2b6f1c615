"""Sentences below the tables of a run: conclusions, failures and the machine."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from mssbench.analysis import conclusions
from mssbench.analysis.blocks import Block
from mssbench.console.statuses import STYLE
from mssbench.records import units
from mssbench.records.measurement import MEASURED

if TYPE_CHECKING:
    import pandas as pd

_REASONS = 3  # reasons that are printed for one status; the rest are counted


def epilogue(
    frame: "pd.DataFrame", facts: Mapping[str, Any], usual: Sequence[Block] | None = None
) -> Iterator[RenderableType]:
    """Yield conclusions, failures with their reasons, and the machines of a run.

    usual: the result of `blocks(frame)`, if the caller has it already.
    """
    sentences = conclusions.conclusions(frame, facts, usual)
    yield from map(Text, ["", *sentences] if sentences else [])
    yield from failures(frame)
    for sentence in (*conclusions.steadiness(frame, facts), *conclusions.machines(frame, facts)):
        yield Text(sentence, style="dim")


def failures(
    frame: "pd.DataFrame", statuses: Collection[str] | None = None
) -> Iterator[RenderableType]:
    """Yield a line for each status but ok that rows have, with the reasons.

    statuses: the statuses to report; all if None.
    """
    for failure in conclusions.failures(frame):
        if statuses is not None and failure.status not in statuses:
            continue

        count = units.count(failure.cells, "cell")
        of = f" of {failure.methods} methods" if failure.methods > 1 else ""
        yield Text.assemble(
            (failure.status, STYLE.get(failure.status, "")),
            f": {count}{of}",
            ": timed, but cannot win" if failure.status in MEASURED else "",
            *_reasons(failure),
        )


def _reasons(failure: conclusions.Failure) -> Iterator[str]:
    """Yield the reasons of a status: one on the same line, several on own lines with counts."""
    first = failure.reasons[:_REASONS]
    if len(failure.reasons) == 1:
        yield f": {first[0][0]}"
        return
    for reason, cells in first:
        yield f"\n  {cells} x {reason}"
    if rest := failure.reasons[_REASONS:]:
        others = units.count(len(rest), "other reason")
        yield f"\n  {sum(n for _, n in rest)} x for {others} (--json has all)"
