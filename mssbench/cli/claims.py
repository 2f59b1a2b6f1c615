"""`mssbench claims`: judge the claims of a run's suite. It does not import torch."""

import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mssbench import results
from mssbench.analysis import claims, conclusions
from mssbench.analysis.claims import ClaimResult
from mssbench.analysis.kinds import Conditions
from mssbench.analysis.training_claims import TrainingVerdict, judge
from mssbench.analysis.training_reading import load
from mssbench.cli.options import Json, RunArgument
from mssbench.cli.output import output, output_json
from mssbench.console import training_claims
from mssbench.console.claims import verdicts
from mssbench.errors import RunError, SuiteError
from mssbench.records import units
from mssbench.records.measurement import Status
from mssbench.results import parts, table, trainings
from mssbench.results.facts_file import read_facts
from mssbench.results.rows import SUITE
from mssbench.results.run import Run

EXAMPLES = ("mssbench claims results/paper_svd_2021",)
_OF_RUNS = "Run a suite that has some, such as `mssbench run paper_isqrt_2018`, or write"
_OF_TRAININGS = (
    "Write [[claim]] tables into the suite and call `mssbench train` again, which keeps what is "
    "trained, or write"
)


def command(
    run: RunArgument,
    as_json: Json = False,
) -> None:
    """Say which claims of papers, as stated in the suite of RUN, hold in its results."""
    if trainings.is_run(run):
        folder = trainings.folder_of(run)
        verdicts_of_trainings = judged(folder)
        if as_json:
            output_json("claims", {"rows": [asdict(v) for v in verdicts_of_trainings]})
        else:
            output([*training_claims.verdicts(verdicts_of_trainings), *incomplete(folder)])
    elif as_json:
        output_json("claims", {"rows": data(run)})
    else:
        output(report(run))


def judged(folder: Path) -> list[TrainingVerdict]:
    """Return the verdict on every claim of the suite of a run of trainings.

    Raises TableError for a table that cannot be read, RunError if the suite cannot be read or has
    no claim, and SuiteError for a malformed claim.
    """
    tables = stated(folder)
    if not tables:
        raise _none(folder, _OF_TRAININGS)
    of_run = load(folder)
    try:
        return judge(tables, of_run.trainings, of_run.curves, of_run.robustness)
    except SuiteError as error:
        raise SuiteError(f"{folder / SUITE}: {error}") from None


def incomplete(folder: Path) -> Iterator[Text]:
    """Yield sentences which say that a run of trainings is a part of its suite, or was stopped."""
    if part := parts.sentence(read_facts(folder)):
        yield Text(part, "yellow")
    every = load(folder).trainings
    if missing := int((every["status"] == Status.INTERRUPTED).sum()):
        are = "is" if missing == 1 else "are"
        yield Text(
            f"{missing} of {units.count(len(every), 'training')} {are} missing: the run was "
            "stopped, or joined from parts.",
            "yellow",
        )


def stated(folder: Path) -> Any:
    """Return the [[claim]] tables of the suite of a run. Raises RunError if it cannot be read."""
    file = folder / SUITE
    try:
        return tomllib.loads(file.read_text("utf-8")).get("claim", [])
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}. Its claims are unknown.") from None


def _none(folder: Path, remedy: str) -> RunError:
    return RunError(f"{folder} has no claims. {remedy} a [[claim]] into {folder / SUITE}.")


def examine(run: Run) -> list[ClaimResult]:
    """Return the verdict on every claim of a run's suite, as decided by the rows of the run.

    Raises TableError if there is no run, RunError if its suite cannot be read or has no claim, and
    SuiteError for a malformed claim.
    """
    frame = run.current
    tables = stated(run.folder)
    if not tables:
        raise _none(run.folder, _OF_RUNS)

    try:
        return claims.judge_claims(tables, frame)
    except SuiteError as error:
        raise SuiteError(f"{run.folder / SUITE}: {error}") from None


def report(path: Path) -> Iterator[RenderableType]:
    """Yield a table of the claims with verdicts and comparisons, then the machines of the run."""
    run = results.open(path)
    yield verdicts(examine(run))
    for sentence in conclusions.machines(run.current, run.facts):
        yield Text(sentence, style="dim")


def data(path: Path) -> list[dict[str, Any]]:
    """Return each claim with its verdict and every comparison that decides it, for JSON."""
    run = results.open(path)
    findings = examine(run)
    known = Conditions(run.current)
    return [_record(finding, known) for finding in findings]


def _record(finding: ClaimResult, known: Conditions) -> dict[str, Any]:
    """Return the verdict on one claim for JSON. known: condition numbers of the run's matrices."""
    claim = finding.claim
    return {
        "claim": claim.claim,
        "source": claim.source,
        "verdict": str(finding.verdict),
        "why": finding.why,
        "value": claim.value,
        "over": claim.over,
        "comparisons": len(finding.points),
        "holds_in": sum(p.holds for p in finding.points),
        "median_ratio": finding.median,
        "published": [{**p.at, "figure": p.figure, "here": p.here} for p in finding.published],
        "deciding": [
            {
                **{k: table.plain(v) for k, v in p.at.items()},
                "condition": known.at(p.at),
                "left": p.left._asdict(),
                "right": p.right._asdict(),
                "ratio": p.ratio,
                "holds": p.holds,
            }
            for p in finding.points
        ],
    }
