"""`TrainingCell`, one training of a network as one record, and the columns of its tables.

A run of trainings has two tables: `curves.csv` with a row for each epoch, and `trainings.csv` with
a row for each training. Both begin with the key columns, the fields of the cell.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from mssbench.records.schema import Column

# A training of which this share of the steps was skipped has not trained what it claims to.
MOST_SKIPPED = 0.5


@dataclass(frozen=True)
class TrainingCell:
    """One training: a task, a method that pools, a seed, and how the network is trained."""

    task: str
    forward: str  # a forward of mssbench, `features`, or a control: `mean`, `covariance`
    backward: str  # empty: the default backward of the forward
    options: str  # parameters of the pair, as text, sorted by name
    precision: str  # of covariance and root
    then: str  # the method of the last stage of the learning rate, as text; empty: the same
    seed: int
    learning_rate: float
    epochs: int
    batch: int

    @cached_property
    def cell_id(self) -> str:
        """Identifier of 16 hex digits: a hash of all fields, the same on every machine."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def method(self) -> str:
        """The name of the method: forward + backward with parameters, such as `eigh + loewner`.

        The precision is no part of it: the same method may be trained in several.
        """
        pair = " + ".join(filter(None, [self.forward, self.backward]))
        then = f"then {self.then}" if self.then else ""
        return " ".join(filter(None, [pair, self.options, then]))


TRAINING_KEY: tuple[str, ...] = tuple(f.name for f in fields(TrainingCell))


def _column(name: str, kind: str, unit: str, meaning: str, group: str) -> Column:
    return Column(name, group, kind, unit, meaning)


_KEY = (
    _column("task", "str", "", "data of the classification", "key"),
    _column("forward", "str", "", "what pools the features: a root, or mean, covariance", "key"),
    _column("backward", "str", "", "method that computes the gradient; empty: the default", "key"),
    _column("options", "str", "", "parameters of the pair", "key"),
    _column("precision", "str", "", "number format of covariance and root", "key"),
    _column("then", "str", "", "the method of the last stage, if it is another one", "key"),
    _column("seed", "int", "", "seed of weights, order and augmentation", "key"),
    _column("learning_rate", "float", "1", "learning rate of the first stage", "key"),
    _column("epochs", "int", "", "passes over the training data", "key"),
    _column("batch", "int", "", "samples of a step", "key"),
)
_COUNTS = (
    _column("steps", "int", "", "training steps", "outcome"),
    _column("skipped", "int", "", "steps that left the weights as they were", "outcome"),
    _column("nonfinite_loss", "int", "", "steps with a loss that is not finite", "outcome"),
    _column("nonfinite_root", "int", "", "steps with a root that is not finite", "outcome"),
    _column("nonfinite_gradient", "int", "", "steps with a gradient not finite", "outcome"),
    _column("exceptions", "int", "", "steps that raised an exception", "outcome"),
    _column("failed", "int", "", "test samples without a finite result", "outcome"),
)
_MEASURED = (
    _column("loss", "float", "1", "mean loss over the steps of the epoch", "outcome"),
    _column("accuracy", "float", "1", "share of the test samples that are right", "outcome"),
    *_COUNTS,
    _column("seconds", "float", "s", "processor time of the training steps", "time"),
    _column("root_seconds", "float", "s", "part of it in the forward of the pooling", "time"),
    _column("gradient_median", "float", "1", "norm of the gradient of all weights", "outcome"),
    _column("gradient_largest", "float", "1", "the largest of these norms", "outcome"),
    _column("rank", "float", "1", "live eigenvalues of the covariances, median", "outcome"),
    _column("condition", "float", "1", "largest / smallest live eigenvalue, median", "outcome"),
    _column("exception", "str", "", "the first exception of the epoch", "outcome"),
)
_IDENTITY = (
    _column("initial", "str", "", "digest of the weights before the pooling", "identity"),
    _column("data", "str", "", "digest of the task's data", "identity"),
    _column("cell_id", "str", "", "identifies the training", "identity"),
    _column("environment", "str", "", "hash of the machine, key in environment.json", "identity"),
)
CURVES: tuple[Column, ...] = (
    *_KEY,
    _column("epoch", "int", "", "number of the epoch, from 1", "key"),
    *_MEASURED,
    *_IDENTITY,
)
TRAININGS: tuple[Column, ...] = (
    *_KEY,
    _column(
        "status",
        "str",
        "",
        "ok, nonfinite, unsupported, not_installed, crashed or interrupted",
        "outcome",
    ),
    _column("reason", "str", "", "why it ended so", "outcome"),
    *_MEASURED,
    *_IDENTITY,
)


def training_row(cell: TrainingCell, epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of a training from the rows of its epochs: sums, and the last values.

    The medians and the largest norm of the gradient are those of the last epoch.
    """
    summed = [c.name for c in _COUNTS if c.name != "failed"] + ["seconds", "root_seconds"]
    last = dict(epochs[-1]) if epochs else {}
    totals = {name: sum(epoch[name] for epoch in epochs) for name in summed}
    messages = [epoch["exception"] for epoch in epochs if epoch["exception"]]
    return asdict(cell) | last | totals | {"exception": messages[0] if messages else ""}
