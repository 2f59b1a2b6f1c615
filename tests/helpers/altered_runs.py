"""Runs for tests of reports: those in `results`, with other names, times, rows or facts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.root import ROOT
from mssbench.results import table
from mssbench.results.rows import ENVIRONMENT, SUITE, TABLE

QUICK = ROOT / "results/cpu-2core-quick"
STANDARD = ROOT / "results/cpu-2core-standard"
CLAIMS = ROOT / "results/cpu-2core-paper_svd_2021"  # its suite has claims

TIMES = [
    f"seconds_{name}" for name in ("min", "q1", "median", "q3", "low", "high")
]  # all columns of times, which a table has together


def altered(
    source: Path,
    folder: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
    facts: Callable[[dict[str, Any]], object] = lambda facts: None,
) -> Path:
    """Write a run to `folder`: the run `source`, with a changed table and changed facts.

    change: receives the typed table and returns another. facts: changes the facts in place.
    """
    folder.mkdir(parents=True)
    document = json.loads((source / ENVIRONMENT).read_text())
    facts(document)
    (folder / ENVIRONMENT).write_text(json.dumps(document))
    if (source / SUITE).exists():
        (folder / SUITE).write_bytes((source / SUITE).read_bytes())
    change(table.load(source)).to_csv(folder / TABLE, index=False)
    return folder


def faster(frame: pd.DataFrame, factor: float, *, steps_too: bool = True) -> pd.DataFrame:
    """A table whose times are divided by a factor, as are those counted in batched products."""
    columns = [*TIMES, "gemms"] if steps_too else TIMES
    return frame.assign(**{name: frame[name] / factor for name in columns})


def dated(day: str) -> Callable[[dict[str, Any]], None]:
    """A change of facts: every run began on this day, such as 2026-01-31."""

    def change(facts: dict[str, Any]) -> None:
        for run in facts["runs"].values():
            run["started"] = f"{day}T12:00:00+00:00"

    return change


def larger(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """A table of about so many rows: the rows that ran, of more methods, sizes and batches.

    Each copy of the table has other names of forwards, and every third one another size and batch,
    so that numbers of methods and of places both grow.
    """
    ran = frame[frame["seconds_median"].notna()]
    copies = []
    for copy in range(-(-rows // len(ran))):
        factor = 1 + 0.01 * copy
        named = ran["forward"] + ("" if copy % 3 == 0 else f"_{copy % 3}")
        moved = {"size": ran["size"] + copy // 3, "batch": ran["batch"] * 2 ** (copy // 12)}
        cells = ran["cell_id"] + f"-{copy}"
        copies.append(faster(ran, 1 / factor).assign(**moved, forward=named, cell_id=cells))
    return pd.concat(copies, ignore_index=True).head(rows)
