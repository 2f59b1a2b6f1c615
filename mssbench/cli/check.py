"""`mssbench check`: compare a run with a baseline. It does not import torch."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from mssbench import results
from mssbench.cli.judging import closing, judging
from mssbench.cli.options import (
    AcrossOfCheck,
    Display,
    FailOnBaseline,
    GitHub,
    Json,
    OnlyRows,
    RunArgument,
    words,
)
from mssbench.cli.output import output, output_json
from mssbench.compare import check
from mssbench.compare.judgement import Judged, judgement_data
from mssbench.compare.tables import side
from mssbench.console import comparison
from mssbench.console.comparison import check_display
from mssbench.results import baselines
from mssbench.results.rows import SUITE
from mssbench.suite import thresholds

EXAMPLES = (
    "mssbench check results/ci --baseline ci",
    'mssbench check results/ci --baseline ci --fail-on "gradient_error:3x"',
)


def command(
    run: RunArgument,
    baseline: Annotated[
        str,
        typer.Option(
            help="What to compare RUN with: the name of a saved baseline, or the folder of a run."
        ),
    ],
    fail_on: FailOnBaseline = [],  # noqa: B006
    only: OnlyRows = None,
    across: AcrossOfCheck = "",
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Compare the status, errors and counts of operations of a run with those of a baseline.

    Times are compared only where a limit is set for them, with --fail-on or in the suite of the
    baseline. Exit code: 0 pass, 1 regression, 2 misuse, 4 rows are broken or gone,
    5 not comparable, 6 nothing was measured.
    """
    check_display(display)
    with judging("check", told=github, as_json=as_json) as tell:
        result = checked(run, baseline, fail_on, words(across), only)
        code = result.outcome.exit_code
        tell(result, code)

    if as_json:
        output_json("check", data(result, code))
    else:
        output(tables(result, display))
    raise typer.Exit(code)


def checked(
    run: Path, baseline: str, fail_on: Sequence[str], across: Collection[str], only: str | None
) -> Judged:
    """Compare a run with a baseline by the default limits, the baseline's [check] and `fail_on`.

    [check] is the table of limits in the suite of the baseline. That of the run's own suite is
    ignored, because a change could loosen it to pass. across: aspects in which the two may differ,
    see `--across`. only: a condition that rows must satisfy.
    Raises GateError for a limit that cannot be parsed or applies to no row, RunError if there is no
    such baseline or its suite cannot be read, TableError if there is no such run or row, and
    NotComparable if the two differ in an aspect that `across` does not allow, or have no row in
    common.
    """
    stored, measured = results.open(baselines.find(baseline)), results.open(run)
    limits = thresholds.of_baseline(stored.known_suite(), str(stored.folder / SUITE))
    rules = [*limits, *thresholds.of_words(fail_on)]
    max_error = thresholds.max_error(stored.suite)
    judged = check.check(
        side(stored.path, only), side(run, only).judged_by(max_error), rules, across
    )

    disagreements = thresholds.disagreements(limits, stored.suite, measured.suite)
    return replace(judged, remarks=(*judged.remarks, *disagreements))


def tables(result: Judged, display: str) -> Iterator[RenderableType]:
    """Yield the tables of a check; the last line has a fixed form, for scripts."""
    yield from comparison.checked(result, display)
    yield closing(result)


def data(result: Judged, code: int) -> dict[str, Any]:
    """Return the result of a check for JSON. code: the exit code of the process."""
    return {
        "verdict": result.outcome,
        "exit_code": code,
        "verdicts": dict(result.verdicts),
        "gates": [t._asdict() for t in result.tallies],
        "remarks": list(result.remarks),
        "rows": [judgement_data(judgement) for judgement in result.judgements],
        "advice": [judgement_data(judgement) for judgement in result.advice],
    }
