"""`TrainingCell`, one training of a network as one record, and the columns of its tables.

A run of trainings has three tables: `trainings.csv` with a row for each training, `curves.csv` with
a row for each epoch, and `robustness.csv` with a row for each change of the test data, or of the
eigenvalues, under which a trained network was evaluated. All begin with the key columns, the fields
of the cell.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property

from mssbench.records.schema import Column

# A training of which this share of the steps was not finite, or raised, has not trained what it
# claims to.
MOST_NONFINITE = 0.5
STAGES = 3  # of the learning rate; the method `then` takes over in the last one
# Forwards that are no roots, as controls: the mean of each channel, and the covariance itself.
MEAN, COVARIANCE = "mean", "covariance"
DEVICES = ("cpu", "cuda")
# What is done about a step whose loss, root or gradient is not finite, after it has been counted:
# `skip` leaves the weights as they were, `repair` replaces entries of the gradient that are not
# finite by 0 as the published layers do, and `apply` takes the step as it is.
POLICIES = ("skip", "repair", "apply")
# How many places M a network pools over for each task: first the usual number, then another one.
PLACES: Mapping[str, tuple[int, ...]] = {
    "digits": (16, 64),
    "tex12": (49, 196, 784),
    "texfine": (49, 196, 784),
    "smallcov": (196,),
    "largecov": (196,),
}
FEATURE_TASKS = ("smallcov", "largecov")  # their inputs are features, and no images
# The number n of channels that are pooled, as a rule.
CHANNELS: Mapping[str, int] = {
    "digits": 32,
    "tex12": 64,
    "texfine": 64,
    "smallcov": 32,
    "largecov": 32,
}


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
    places: int  # M, the number of places over which the covariance is taken
    channels: int  # n, the size of the covariance
    policy: str  # what is done about a step that is not finite, see `POLICIES`
    device: str  # cpu or cuda

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
# The fields that say which method a training has, and those in which two trainings must be equal,
# besides the seed, if only the method is to differ between them.
METHOD = ("forward", "backward", "options", "precision", "then")
SETTING: tuple[str, ...] = tuple(name for name in TRAINING_KEY if name not in (*METHOD, "seed"))


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
    _column("places", "int", "", "M, places over which the covariance is taken", "key"),
    _column("channels", "int", "", "n, the size of the covariance", "key"),
    _column("policy", "str", "", "what is done about a step that is not finite", "key"),
    _column("device", "str", "", "cpu or cuda", "key"),
)
COUNTS = (
    _column("steps", "int", "", "training steps", "outcome"),
    _column(
        "nonfinite_steps", "int", "", "steps with a value not finite, or that raised", "outcome"
    ),
    _column("skipped", "int", "", "steps that left the weights as they were", "outcome"),
    _column("nonfinite_loss", "int", "", "steps with a loss that is not finite", "outcome"),
    _column("nonfinite_root", "int", "", "steps with a root that is not finite", "outcome"),
    _column("nonfinite_gradient", "int", "", "steps with a gradient not finite", "outcome"),
    _column("exceptions", "int", "", "steps that raised an exception", "outcome"),
    _column("failed", "int", "", "test samples without a finite result", "outcome"),
)
PROBES = (
    _column("probe_loss", "float", "1", "loss of the batch of the probe", "probe"),
    _column("activation_gradient", "float", "1", "norm of dL/dX at the stem's output X", "probe"),
    _column("band", "float", "1", "range of the loss at X + η dL/dX over all η", "probe"),
    _column("band_normalized", "float", "1", "band / (largest η · ‖dL/dX‖²)", "probe"),
    _column("gradient_difference", "float", "1", "largest change of dL/dX over all η", "probe"),
    _column("difference_normalized", "float", "1", "that change / ‖dL/dX‖", "probe"),
    _column("beta_low", "float", "1", "lower quartile over η of change / (η ‖dL/dX‖)", "probe"),
    _column("beta_median", "float", "1", "its median", "probe"),
    _column("beta_high", "float", "1", "its upper quartile", "probe"),
    _column("truth", "float", "1", "change of the loss / that which dL/dX foretells", "probe"),
    _column("amplification", "float", "1", "norm of dL/dA / norm of dL/d root, median", "probe"),
    _column(
        "gradient_error", "float", "1", "dL/dX of the pooling against the exact root's", "probe"
    ),
)
_MEASURED = (
    _column("loss", "float", "1", "mean loss over the steps of the epoch", "outcome"),
    _column("accuracy", "float", "1", "share of the test samples that are right", "outcome"),
    *COUNTS,
    _column("seconds", "float", "s", "processor time of the steps; on a GPU elapsed time", "time"),
    _column("root_seconds", "float", "s", "part of it in the forward of the pooling", "time"),
    _column("gradient_median", "float", "1", "norm of the gradient of all weights", "outcome"),
    _column("gradient_largest", "float", "1", "the largest of these norms", "outcome"),
    _column("rank", "float", "1", "live eigenvalues of the covariances, median", "outcome"),
    _column("condition", "float", "1", "largest / smallest live eigenvalue, median", "outcome"),
    *PROBES,
    _column("exception", "str", "", "the first exception of the epoch", "outcome"),
)
_IDENTITY = (
    _column("initial", "str", "", "digest of the weights before the pooling", "identity"),
    _column("data", "str", "", "digest of the task's data", "identity"),
    _column("cell_id", "str", "", "identifies the training", "identity"),
    _column("environment", "str", "", "hash of the machine, key in environment.json", "identity"),
    _column("threads", "int", "", "threads of the training", "identity"),
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
    _column("truth_error", "float", "1", "largest |truth - 1| of all epochs", "probe"),
    _column("first_skipped", "int", "", "number of the first step that was skipped", "outcome"),
    _column(
        "epochs_to_first_order",
        "int",
        "",
        "epochs until the accuracy that mean pooling has at its end; empty: not reached",
        "outcome",
    ),
    *_IDENTITY,
)
ROBUSTNESS: tuple[Column, ...] = (
    *_KEY,
    _column("change", "str", "", "of the test data, or `truncation` of eigenvalues", "key"),
    _column("severity", "float", "1", "1 to 5; of truncation, the share in percent", "key"),
    _column("accuracy", "float", "1", "share of the test samples that are right", "outcome"),
    _column("failed", "int", "", "test samples without a finite result", "outcome"),
    *_IDENTITY,
)
