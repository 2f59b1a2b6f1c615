"""The parts of pages that come from committed runs of trainings."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from of_code import ROOT, table

from mssbench.analysis import learning_rates, trainings
from mssbench.analysis.training_reading import load
from mssbench.cli import claims

QUICK = Path("results/cpu-2core-train_quick")
FULL = Path("results/cpu-2core-train_full")


def verdicts(run: Path) -> str:
    """Return a table of the claims of a run of trainings, with their verdicts."""
    rows = [
        (verdict.verdict, f"{verdict.claim} *{verdict.source}*", verdict.found)
        for verdict in claims.judged(ROOT / run)
    ]
    return table(("verdict", "claim", "found"), rows)


def accuracy_by_rate() -> str:
    """Return a table of mean accuracies on the textures of `train_full`, by learning rate."""
    every = load(ROOT / FULL).trainings
    grid = next(g for g in learning_rates.grids(every) if g.title["task"] == "tex12")
    heads = ("method", *(f"rate {rate:g}" for rate in grid.rates), "best rate")
    rows = []
    for line in grid.lines:
        found = line.rates.means
        means = [f"{found[r]:.3f}" if r in found else "" for r in grid.rates]
        edge = ", at the edge" if line.best is not None and line.best.at_edge else ""
        best = "" if line.best is None else f"{line.best.rate:g}{edge}"
        rows.append((f"`{line.method}`", *means, best))
    return table(heads, rows)


def differences() -> str:
    """Return a table of the differences from the exact root at one rate, with all methods."""
    every, curves, _ = load(ROOT / FULL)
    groups = trainings.groups(every, curves)
    group = next(
        g for g in groups if (g.task, g.places, g.learning_rate, g.epochs) == ("tex12", 49, 0.1, 8)
    )
    rows = []
    for line in group.lines:
        d = line.difference
        minus = "" if d is None else f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
        p = "" if d is None else f"{d.p:.2g}"
        skipped = f"{100 * line.skipped:.0f} %"
        accuracy = (f"{line.mean:.3f}", f"{line.spread:.3f}")
        rows.append((f"`{line.method}`", *accuracy, minus, p, skipped))
    heads = ("method", "accuracy", "spread", f"minus {group.reference}", "p", "skipped")
    return table(heads, rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "train-quick-claims": partial(verdicts, QUICK),
    "train-full-claims": partial(verdicts, FULL),
    "train-full-rates": accuracy_by_rate,
    "train-full-differences": differences,
}
