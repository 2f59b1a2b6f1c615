"""`mssbench compare` and `mssbench check`: two tables. The read wing; needs no torch."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.text import Text

from mssbench import differences, expression, gate, rules, table
from mssbench.commands import baseline as baselines
from mssbench.compare import Change, Comparison, Side, compare
from mssbench.errors import TableError, unknown
from mssbench.gate import Judged
from mssbench.judgement import Outcome, last_line, outcome
from mssbench.labels import with_labels
from mssbench.records import KEY
from mssbench.rows import read_facts, read_suite


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


def side(path: Path, only: str | None = None) -> Side:
    """A run's rows, or those for which `only` holds, and the facts beside them."""
    frame = table.load(path)
    if only is not None:
        labelled = with_labels(frame)
        try:
            frame = frame.loc[expression.select(labelled, only).index]
        except TableError as error:
            raise TableError(f"--only {error}") from None
        if frame.empty:
            hint = expression.why_empty(labelled, only)
            raise TableError(f"--only {only!r} leaves no row of {path}.{hint}")
    return Side(frame, read_facts(path.parent if path.is_file() else path))


def checked(
    run: Path, baseline: str, fail_on: Sequence[str], across: Collection[str], only: str | None
) -> Judged:
    """Hold a run against a baseline, by the gates, the suite's [check] and then `fail_on`.

    Raises GateError for a rule that cannot be read, and what gate.check raises.
    """
    folder = run.parent if run.is_file() else run
    limits = [*rules.of_suite(read_suite(folder) or {}), *rules.of_words(fail_on)]
    return gate.check(side(baselines.find(baseline), only), side(run, only), limits, across)


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


def change_data(c: Change) -> dict[str, Any]:
    """One row: its key, the verdict, and what that rests on."""
    rest = {k: v for k, v in asdict(c).items() if k not in ("pair", "verdict")}
    base, new = c.seconds
    return (
        {k: c.pair.row[k] for k in KEY}
        | {"verdict": str(c.verdict), "base_seconds": base, "new_seconds": new}
        | rest
    )
