"""`mssbench claims`: judge the claims of a run's suite. It does not import torch."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mssbench import results
from mssbench.analysis import claims, conclusions
from mssbench.analysis.claims import ClaimResult
from mssbench.analysis.kinds import Conditions
from mssbench.cli.options import Json, RunArgument
from mssbench.cli.output import output, output_json
from mssbench.console.claims import verdicts
from mssbench.errors import RunError, SuiteError
from mssbench.results import table
from mssbench.results.rows import SUITE
from mssbench.results.run import Run

EXAMPLES = ("mssbench claims results/paper_svd_2021",)


def command(
    run: RunArgument,
    as_json: Json = False,
) -> None:
    """Say which claims of papers, as stated in the suite of RUN, hold in its results."""
    if as_json:
        output_json("claims", {"rows": data(run)})
    else:
        output(report(run))


def examine(run: Run) -> list[ClaimResult]:
    """Return the verdict on every claim of a run's suite, as decided by the rows of the run.

    Raises TableError if there is no run, RunError if its suite cannot be read or has no claim, and
    SuiteError for a malformed claim.
    """
    frame = run.current
    file = run.folder / SUITE

    try:
        tables = tomllib.loads(file.read_text("utf-8")).get("claim", [])
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}. Its claims are unknown.") from None
    if not tables:
        raise RunError(
            f"{run.folder} has no claims. Run a suite that has some, such as `mssbench run "
            f"paper_isqrt_2018`, or write a [[claim]] into {file}."
        )

    try:
        return claims.judge_claims(tables, frame)
    except SuiteError as error:
        raise SuiteError(f"{file}: {error}") from None


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
