"""What is recorded of a training: its epochs, and how its trained network was evaluated."""

import math
from dataclasses import dataclass, field

from mssbench.records import units
from mssbench.training.robustness import Evaluation


@dataclass
class Epoch:
    """What one epoch recorded; one row of the table of curves.

    loss: the mean over the steps with a finite loss. accuracy: on the test data after the epoch.
    seconds: processor time of the training steps; on a GPU, elapsed time. root_seconds: the part of
    it in the forward of the pooling.
    nonfinite_loss, nonfinite_root, nonfinite_gradient: steps in which these were not finite.
    exceptions: steps that raised one, and `exception`, the first of its messages.
    nonfinite_steps: steps with any of these, whatever was then done about them.
    skipped: steps that did not change the weights. failed: test samples without a finite result.
    gradient_median, gradient_largest: norms of the gradient of all weights, over the other steps.
    rank, condition: medians, over a batch, of the number of live eigenvalues of the covariance and
    of the ratio of the largest one to the smallest live one. first_skipped: the number of the first
    step of the epoch that was skipped. probes: what `probe` found after the epoch.
    """

    epoch: int
    loss: float = math.nan
    accuracy: float = math.nan
    steps: int = 0
    seconds: float = 0.0
    root_seconds: float = 0.0
    nonfinite_loss: int = 0
    nonfinite_root: int = 0
    nonfinite_gradient: int = 0
    exceptions: int = 0
    nonfinite_steps: int = 0
    skipped: int = 0
    failed: int = 0
    gradient_median: float = math.nan
    gradient_largest: float = math.nan
    rank: float = math.nan
    condition: float = math.nan
    exception: str = ""
    first_skipped: int | None = None
    probes: dict[str, float] = field(default_factory=dict)


@dataclass
class Curve:
    """The result of a training: its epochs, and the digests by which trainings compare.

    initial: over the weights before the pooling, before the first step. task: over the data.
    robustness: how accurate the trained network is on changed data, if that was asked for.
    """

    initial: str
    task: str
    epochs: list[Epoch] = field(default_factory=list)
    robustness: list[Evaluation] = field(default_factory=list)

    @property
    def nonfinite_share(self) -> float:
        """The share of all steps with a value that was not finite, or with an exception."""
        steps = sum(epoch.steps for epoch in self.epochs)
        return sum(epoch.nonfinite_steps for epoch in self.epochs) / steps if steps else 0.0

    def causes(self) -> str:
        """Return how often what was not finite, and the first exception: `gradient in 4 steps`."""
        totals = {
            what: sum(getattr(epoch, f"nonfinite_{what}") for epoch in self.epochs)
            for what in ("loss", "root", "gradient")
        }
        parts = [
            f"{what} not finite in {units.count(n, 'step')}" for what, n in totals.items() if n
        ]
        raised = sum(epoch.exceptions for epoch in self.epochs)
        if raised:
            first = next(epoch.exception for epoch in self.epochs if epoch.exception)
            parts.append(f"exceptions in {units.count(raised, 'step')}, the first: {first}")
        return "; ".join(parts)
