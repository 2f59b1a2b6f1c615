"""`mssbench claims`: a run's claims and their verdicts. Needs no torch."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mssbench.analysis import claims, conclusions
from mssbench.analysis.claims import Finding
from mssbench.console.claims import verdicts
from mssbench.errors import RunError, SuiteError
from mssbench.results import table
from mssbench.results.rows import SUITE, read_facts


def examine(path: Path) -> list[Finding]:
    """The verdict on every claim of a run, from its own rows.

    Raises TableError where there is no run, RunError where its suite cannot be read or claims
    nothing, SuiteError for a claim that is malformed.
    """
    frame = table.load(path)
    folder = _folder(path)
    file = folder / SUITE
    try:
        tables = tomllib.loads(file.read_text("utf-8")).get("claim", [])
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}. Its claims are not known.") from None
    if not tables:
        raise RunError(
            f"{folder} makes no claim. Run a suite that does, such as `mssbench run "
            f"paper_isqrt_2018`, or write a [[claim]] into {file}."
        )
    try:
        return claims.judge_claims(tables, frame)
    except SuiteError as error:
        raise SuiteError(f"{file}: {error}") from None


def report(path: Path) -> Iterator[RenderableType]:
    """Each claim, its verdict, and what decides it; then what it was measured on."""
    yield verdicts(examine(path))
    for sentence in conclusions.machines(table.load(path), read_facts(_folder(path))):
        yield Text(sentence, style="dim")


def data(path: Path) -> list[dict[str, Any]]:
    """The same with every point."""
    return [_record(finding) for finding in examine(path)]


def _folder(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _record(found: Finding) -> dict[str, Any]:
    claim = found.claim
    return {
        "claim": claim.claim,
        "source": claim.source,
        "verdict": str(found.verdict),
        "why": found.why,
        "value": claim.value,
        "over": claim.over,
        "comparisons": len(found.points),
        "holds_in": sum(p.holds for p in found.points),
        "median_ratio": found.median,
        "published": [{**p.at, "figure": p.figure, "here": p.here} for p in found.published],
        "deciding": [
            {k: table.plain(v) for k, v in p.at.items()}
            | {"left": p.left._asdict(), "right": p.right._asdict(), "ratio": p.ratio,
               "holds": p.holds}
            for p in found.points
        ],
    }  # fmt: skip
