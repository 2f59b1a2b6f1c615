"""Runs of trainings with planted results, in the files that `mssbench train` writes."""

import csv
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from mssbench.records.training import TrainingCell
from mssbench.records.training_tables import tables

ENVIRONMENT = "e" * 12
EXACT = ("eigh", "loewner", "")
NEWTON_SCHULZ = ("newton_schulz", "autodiff", "iterations=5 norm=trace")
MEAN = ("mean", "", "")
BROKEN = ("svd", "autodiff", "")
METHODS = (MEAN, NEWTON_SCHULZ, EXACT, BROKEN)
# The accuracy that each planted method ends with at learning rate 0.1, so that newton_schulz is
# better than the exact root by 0.01, mean pooling is not told from it, and svd learns nothing.
ACCURACY = {MEAN: 0.85, NEWTON_SCHULZ: 0.87, EXACT: 0.86, BROKEN: 0.08}
SPREAD = {MEAN: 0.02, NEWTON_SCHULZ: 0.002, EXACT: 0.002, BROKEN: 0.0}
EPOCHS, STEPS = 4, 30
MESSAGE = "LinAlgError: the input matrix contained non-finite values"


def cell(
    method: tuple[str, str, str] = EXACT,
    seed: int = 0,
    learning_rate: float = 0.1,
    task: str = "tex12",
    precision: str = "float32",
) -> TrainingCell:
    """A training; what is not named is usual."""
    forward, backward, options = method
    return TrainingCell(
        task,
        forward,
        backward,
        options,
        precision,
        then="",
        seed=seed,
        learning_rate=learning_rate,
        epochs=EPOCHS,
        batch=32,
        places=49,
        channels=64,
        policy="skip",
        device="cpu",
    )


def cells(
    methods: Sequence[tuple[str, str, str]] = METHODS,
    seeds: int = 5,
    learning_rates: Sequence[float] = (0.05, 0.1),
    tasks: Sequence[str] = ("tex12",),
) -> Iterator[TrainingCell]:
    """Trainings of each method with each seed, learning rate and task."""
    for task in tasks:
        for rate in learning_rates:
            for method in methods:
                for seed in range(seeds):
                    yield cell(method, seed, rate, task)


def result(cell: TrainingCell, *, probes: bool = True, robustness: bool = True) -> dict[str, Any]:
    """What the process of a training reports."""
    method = (cell.forward, cell.backward, cell.options)
    # The numbers of a method that is not planted are those of the exact root.
    known = method if method in ACCURACY else EXACT
    draw = random.Random(f"{cell.task} {cell.seed} {cell.learning_rate} {known}")
    final = ACCURACY[known] + SPREAD[known] * draw.uniform(-1, 1)
    broken = known == BROKEN
    found: dict[str, Any] = {
        "status": "nonfinite" if broken else "ok",
        "reason": f"{EPOCHS * STEPS} of {EPOCHS * STEPS} steps were skipped" if broken else "",
        "initial": f"weights{cell.seed}",
        "data": cell.task,
        "environment": ENVIRONMENT,
        "threads": 1,
        "epochs": [
            epoch(number, final, draw, broken=broken, probes=probes)
            for number in range(1, EPOCHS + 1)
        ],
    }
    if robustness:
        found["robustness"] = list(changed(final))
    return found


def epoch(
    number: int, final: float, draw: random.Random, *, broken: bool, probes: bool
) -> dict[str, Any]:
    """What a process reports of an epoch."""
    progress = 1 if broken else 1 - 0.5**number
    loss = 2.49 if broken else 2.5 * 0.5**number * draw.uniform(0.9, 1.1)
    bad = STEPS if broken else 0
    return {
        "epoch": number,
        "loss": loss,
        "accuracy": final if number == EPOCHS else final * progress,
        "steps": STEPS,
        "nonfinite_steps": bad,
        "skipped": bad,
        "nonfinite_loss": 0,
        "nonfinite_root": 0,
        "nonfinite_gradient": bad - (broken and number == 1),
        "exceptions": int(broken and number == 1),
        "failed": 0,
        "seconds": 0.3,
        "root_seconds": 0.1,
        "gradient_median": 0.5,
        "gradient_largest": 1.5,
        "rank": 48.0,
        "condition": 1e4,
        "exception": MESSAGE if broken and number == 1 else "",
        "first_skipped": 1 if broken else None,
        "probes": probed(loss, draw) if probes else {},
    }


def probed(loss: float, draw: random.Random) -> dict[str, float]:
    """What a probe reports."""
    width = draw.uniform(0.8, 1.2)
    return {
        "probe_loss": loss,
        "activation_gradient": 0.1 * width,
        "band": 0.3 * width,
        "band_normalized": 1.06 * width,
        "gradient_difference": 0.024 * width,
        "difference_normalized": 0.42 * width,
        "beta_low": 0.02,
        "beta_median": 0.03,
        "beta_high": 0.05,
        "truth": 1 + 0.001 * width,
        "amplification": 0.7,
        "gradient_error": 2e-6 * width,
    }


def changed(final: float) -> Iterator[dict[str, Any]]:
    """What a process reports of changed data."""
    for change, loss in (("gaussian_noise", 0.05), ("blur", 0.1)):
        for severity in (1, 3, 5):
            accuracy = max(final - loss * severity, 0.05)
            yield {"change": change, "severity": severity, "accuracy": accuracy, "failed": 0}
    for share in (10, 50, 90):
        accuracy = final * (1 - share / 200)
        yield {"change": "truncation", "severity": share, "accuracy": accuracy, "failed": 0}


def plant(
    folder: Path,
    results: Mapping[TrainingCell, Mapping[str, Any] | None] | None = None,
    *,
    name: str = "planted",
    claims: Sequence[Mapping[str, Any]] = (),
    machine: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run of trainings. results: of each training, None for one that was not reached."""
    if results is None:
        results = {c: result(c) for c in cells()}
    folder.mkdir(parents=True, exist_ok=True)
    by_id = {c.cell_id: found for c, found in results.items()}
    for file, (columns, rows) in tables(results, by_id).items():
        with (folder / file).open("w", newline="") as out:
            writer = csv.DictWriter(out, [c.name for c in columns], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    facts = machine or {"cpu": "Alpha", "cores": {"granted": 2}, "versions": {"torch": "2.13.0"}}
    document = {"environments": {ENVIRONMENT: facts}, "runs": {}}
    (folder / "environment.json").write_text(json.dumps(document))
    task = sorted({c.task for c in results}) or ["tex12"]
    suite: dict[str, Any] = {"name": name, "training": {"task": task}, "claim": list(claims)}
    (folder / "suite.toml").write_text(tomli_w.dumps(suite))
    return folder
