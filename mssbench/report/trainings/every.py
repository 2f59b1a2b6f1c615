"""The table of all trainings on the page, also of those that have not ended."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records import units
from mssbench.report.trainings.tables import MEANINGS, Head, share, whole

if TYPE_CHECKING:
    from mssbench.report.trainings.reading import Shown

# The columns of the table of all trainings, with their headings and how their values are written.
_ALL: dict[str, tuple[str, Callable[[Any], str]]] = {
    "task": ("task", str),
    "method": ("method", str),
    "precision": ("precision", str),
    "seed": ("seed", whole),
    "learning_rate": ("learning rate (no unit)", "{:g}".format),
    "epochs": ("epochs", whole),
    "batch": ("batch (samples)", whole),
    "places": ("M (places)", whole),
    "channels": ("n (channels)", whole),
    "policy": ("policy", str),
    "device": ("device", str),
    "status": ("status", str),
    "accuracy": ("accuracy (share)", share),
    "loss": ("loss (no unit)", units.number),
    "steps": ("steps", whole),
    "skipped": ("skipped (steps)", whole),
    "seconds": ("time", units.seconds),
    "root_seconds": ("time in the root", units.seconds),
    "gradient_median": ("gradient norm (no unit)", units.number),
    "rank": ("rank (eigenvalues)", units.number),
    "condition": ("condition κ (no unit)", units.number),
    "epochs_to_first_order": ("epochs to the accuracy of mean pooling", whole),
    "reason": ("reason", str),
}
_WORDS = ("task", "method", "precision", "policy", "device", "status", "reason", "run")


class Line(NamedTuple):
    """A row of the table of all trainings, with the values that filters choose."""

    texts: Sequence[str]
    run: str
    task: str
    learning_rate: str
    precision: str


def every_training(shown: "Shown") -> tuple[list[Head], list[Line]]:
    """Return the headings and the rows of the table of all trainings, also of those missing."""
    several = len(shown.runs) > 1
    heads = [
        Head(title, MEANINGS.get(name, ""), number=name not in _WORDS)
        for name, (title, _) in _ALL.items()
    ]
    lines = []
    for run, tables in shown.runs.items():
        for row in tables.trainings.to_dict("records"):
            texts = [write(row[name]) or "-" for name, (_, write) in _ALL.items()]
            rate = f"{row['learning_rate']:g}"
            lines.append(
                Line(
                    [*texts, *([run] if several else [])],
                    run,
                    row["task"],
                    rate,
                    row["precision"],
                )
            )
    return [*heads, *([Head("run", number=False)] if several else [])], lines
