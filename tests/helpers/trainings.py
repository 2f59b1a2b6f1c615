"""Tables of planted trainings, so that nothing is trained for a test."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from mssbench.records.training import CURVES, ROBUSTNESS, TRAININGS, TrainingCell

PAIRS = {
    "exact": ("eigh", "loewner", ""),
    "ns5": ("newton_schulz", "autodiff", "iterations=5 norm=trace"),
    "svd": ("svd", "autodiff", ""),
    "mean": ("mean", "", ""),
}
Rows = list[dict[str, Any]]


def rows(
    name: str,
    accuracies: Sequence[float],
    *,
    seeds: Sequence[int] | None = None,
    outcome: Mapping[str, Any] | None = None,
    **key: Any,
) -> Rows:
    """A training for each seed of a method of `PAIRS`. key, outcome: other values of columns."""
    forward, backward, options = PAIRS[name]
    found = []
    for seed, accuracy in zip(seeds or range(len(accuracies)), accuracies, strict=True):
        cell = TrainingCell(
            **{
                "task": "tex12", "forward": forward, "backward": backward, "options": options,
                "precision": "float32", "then": "", "seed": seed, "learning_rate": 0.1,
                "epochs": 4, "batch": 32, "places": 49, "channels": 64, "policy": "skip",
                "device": "cpu",
            } | key
        )  # fmt: skip
        ended = {"status": "ok", "reason": "", "accuracy": accuracy, "steps": 100, "skipped": 0}
        ended["nonfinite_steps"] = 0
        measured = {"loss": 0.5, "seconds": 2.0, "root_seconds": 0.5, "data": "d"}
        identity = {"initial": f"w{seed}", "cell_id": cell.cell_id, "environment": "e"}
        found.append(asdict(cell) | ended | measured | identity | dict(outcome or {}))
    return found


def frames(
    trainings: Rows,
    curves: Mapping[str, Sequence[float]] | None = None,
    robustness: Rows | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The three tables of a run. curves: accuracies by epoch of cells; robustness: its rows."""
    epochs = [
        row | {"epoch": number, "accuracy": accuracy}
        for row in trainings
        for number, accuracy in enumerate((curves or {}).get(row["cell_id"], ()), 1)
    ]
    return (
        pd.DataFrame(trainings, columns=[c.name for c in TRAININGS]),
        pd.DataFrame(epochs, columns=[c.name for c in CURVES]),
        pd.DataFrame(robustness or [], columns=[c.name for c in ROBUSTNESS]),
    )


def changed(row: Mapping[str, Any], change: str, accuracies: Mapping[float, float]) -> Rows:
    """Rows of robustness of one training: its accuracies by severity."""
    return [
        dict(row) | {"change": change, "severity": severity, "accuracy": accuracy}
        for severity, accuracy in accuracies.items()
    ]


def written(folder: Path, trainings: Rows, claims: Sequence[Mapping[str, Any]] = ()) -> Path:
    """A folder with a run of trainings whose suite has some claims."""
    folder.mkdir(exist_ok=True)
    names = ("trainings.csv", "curves.csv", "robustness.csv")
    curves = {row["cell_id"]: [row["accuracy"]] * row["epochs"] for row in trainings}
    for name, frame in zip(names, frames(trainings, curves), strict=True):
        frame.to_csv(folder / name, index=False)
    document: dict[str, Any] = {"name": "planted"}
    (folder / "suite.toml").write_text(tomli_w.dumps(document | {"claim": list(claims)}))
    return folder
