"""`mssbench compare` and `mssbench check`: two tables. The read wing; needs no torch."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.text import Text

from mssbench.compare import check
from mssbench.compare.check import Judged
from mssbench.compare.describe import Comparison, compare
from mssbench.compare.rows import Change, change_data
from mssbench.compare.tables import side
from mssbench.compare.verdict import Outcome, last_line, outcome
from mssbench.console import comparison as differences
from mssbench.errors import TableError, unknown
from mssbench.records.schema import KEY
from mssbench.results import baselines
from mssbench.results.rows import read_suite
from mssbench.suite import thresholds


class Compared(NamedTuple):
    """Both sides and what became of their rows."""

    comparison: Comparison
    outcome: Outcome
    by: tuple[str, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Of every row."""
        return self.comparison.changes

    @property
    def verdicts(self) -> Counter[str]:
        """How many rows of each."""
        return self.comparison.verdicts

    @property
    def remarks(self) -> tuple[str, ...]:
        """None: the table says all."""
        return ()


def compared(
    base: Path, new: Path, across: Collection[str], by: Sequence[str], only: str | None
) -> Compared:
    """Compare two runs. Raises NotComparable and TableError, see compare.compare."""
    for name in by:
        if name not in KEY:
            raise TableError(f"--by: {unknown('column', name, KEY)}")
    found = compare(side(base, only), side(new, only), across)
    # it describes and judges nothing: only that there was nothing to describe is a failure
    seen = outcome({}, found.measured)
    return Compared(found, seen, tuple(by))


def checked(
    run: Path, baseline: str, fail_on: Sequence[str], across: Collection[str], only: str | None
) -> Judged:
    """Hold a run against a baseline, by the gates, the suite's [check] and then `fail_on`.

    Raises GateError for a rule that cannot be read, and what gate.check raises.
    """
    folder = run.parent if run.is_file() else run
    limits = [*thresholds.of_suite(read_suite(folder) or {}), *thresholds.of_words(fail_on)]
    return check.check(side(baselines.find(baseline), only), side(run, only), limits, across)


def compared_tables(found: Compared, display: str) -> Iterator[RenderableType]:
    """A comparison for people, with the line for machines last."""
    yield from differences.comparison(found.comparison, display, found.by)
    yield _last(found.outcome, found.comparison.verdicts)


def checked_tables(found: Judged, display: str) -> Iterator[RenderableType]:
    """A check for people, with the line for machines last."""
    yield from differences.judged(found, display)
    yield _last(found.outcome, found.verdicts)


def _last(found: Outcome, verdicts: Any) -> Text:
    return Text(last_line(found, verdicts), no_wrap=True, overflow="ignore")


def compared_data(found: Compared, code: int) -> dict[str, Any]:
    """The same for JSON. code: with which the process will exit."""
    means = found.comparison.means(["phase", "clock", "cache", *found.by])
    names = ("phase", "clock", "cache", *found.by)
    return {
        "verdict": found.outcome,
        "exit_code": code,
        "verdicts": dict(found.comparison.verdicts),
        "geometric_means": [
            dict(zip(names, key, strict=True)) | {"ratio": mean, "rows": count}
            for key, (mean, count) in means.items()
        ],
        "rows": [change_data(c) for c in found.comparison.changes],
    }


def checked_data(found: Judged, code: int) -> dict[str, Any]:
    """The same for JSON. code: with which the process will exit."""
    return {
        "verdict": found.outcome,
        "exit_code": code,
        "verdicts": dict(found.verdicts),
        "gates": [t._asdict() for t in found.tallies],
        "remarks": list(found.remarks),
        "rows": [change_data(c) for c in found.changes],
        "advice": [change_data(c) for c in found.advice],
    }
