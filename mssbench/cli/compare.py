"""`mssbench compare` and `mssbench check`: two tables. The read wing; needs no torch."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mssbench.compare import check
from mssbench.compare.describe import compare
from mssbench.compare.judgement import Judged, judgement_data
from mssbench.compare.tables import side
from mssbench.compare.verdict import Outcome, last_line
from mssbench.console import comparison as differences
from mssbench.errors import TableError, unknown
from mssbench.records.schema import KEY
from mssbench.results import baselines
from mssbench.results.rows import read_suite
from mssbench.suite import thresholds


def compared(
    base: Path, new: Path, across: Collection[str], by: Sequence[str], only: str | None
) -> Judged:
    """Compare two runs. Raises NotComparable and TableError, see compare.compare."""
    for name in by:
        if name not in KEY:
            raise TableError(f"--by: {unknown('column', name, KEY)}")
    return compare(side(base, only), side(new, only), across, by)


def checked(
    run: Path, baseline: str, fail_on: Sequence[str], across: Collection[str], only: str | None
) -> Judged:
    """Hold a run against a baseline, by the gates, the suite's [check] and then `fail_on`.

    Raises GateError for a rule that cannot be read, and what gate.check raises.
    """
    folder = run.parent if run.is_file() else run
    limits = [*thresholds.of_suite(read_suite(folder) or {}), *thresholds.of_words(fail_on)]
    return check.check(side(baselines.find(baseline), only), side(run, only), limits, across)


def compared_tables(found: Judged, display: str) -> Iterator[RenderableType]:
    """A comparison for people, with the line for machines last."""
    yield from differences.comparison(found, display)
    yield _last(found.outcome, found.verdicts)


def checked_tables(found: Judged, display: str) -> Iterator[RenderableType]:
    """A check for people, with the line for machines last."""
    yield from differences.checked(found, display)
    yield _last(found.outcome, found.verdicts)


def _last(found: Outcome, verdicts: Any) -> Text:
    return Text(last_line(found, verdicts), no_wrap=True, overflow="ignore")


def compared_data(found: Judged, code: int) -> dict[str, Any]:
    """The same for JSON. code: with which the process will exit."""
    return {
        "verdict": found.outcome,
        "exit_code": code,
        "verdicts": dict(found.verdicts),
        "geometric_means": [
            dict(mean.at) | {"ratio": mean.ratio, "rows": mean.rows} for mean in found.means
        ],
        "rows": [judgement_data(judgement) for judgement in found.judgements],
    }


def checked_data(found: Judged, code: int) -> dict[str, Any]:
    """The same for JSON. code: with which the process will exit."""
    return {
        "verdict": found.outcome,
        "exit_code": code,
        "verdicts": dict(found.verdicts),
        "gates": [t._asdict() for t in found.tallies],
        "remarks": list(found.remarks),
        "rows": [judgement_data(judgement) for judgement in found.judgements],
        "advice": [judgement_data(judgement) for judgement in found.advice],
    }
