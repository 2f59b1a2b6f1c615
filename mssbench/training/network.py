"""Small networks that differ in the root alone.

    stem       3 x 3 convolution, batch normalization, ReLU, pooling
    body       the same with more channels, once or twice
    reduction  1 x 1 convolution to n channels, batch normalization, ReLU
    pooling    the root of the covariance of the n channels over all places, or a control
    classifier a linear layer

All parts before the pooling have the same initial weights for every method of a seed. A task that
consists of features has no such parts.
"""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mssbench.errors import SuiteError
from mssbench.records.training import CHANNELS, MEAN, PLACES
from mssbench.training.pooling import CovariancePooling
from mssbench.training.tasks.task import Task
from mssbench.training.transforms import TRANSFORMS, TransformPooling


@dataclass(frozen=True)
class Method:
    """What pools the features of a network.

    forward: `mean`, one of `TRANSFORMS`, or a forward of `CovariancePooling`. backward, parameters,
    precision: as there. then: the method of the last stage of the learning rate, if it is another.
    """

    forward: str
    backward: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    then: "Method | None" = None


# Channels of the stem and the body for images of a side. A texture has n = 64 pooled channels and
# M = 7 x 7 = 49 places as a rule: the ratio of ResNet-50 in covariance pooling, 256 to 196.
_WIDTHS = {28: (16, 32, 64), 8: (16, 32)}


class Network(nn.Module):
    """A network for a task. The input has the shape of the task's inputs, the output (b, classes).

    places: M, over which features are pooled. channels: n, which are pooled. 0 stands for the usual
    number of the task.
    `last_features` holds the features that were pooled last, (b, n, M), for records of their rank,
    and `last_pooled` what they were pooled to.

    Raises SuiteError for a number of places that the task does not have.
    """

    def __init__(
        self, task: Task, method: Method, seed: int, *, places: int = 0, channels: int = 0
    ) -> None:
        super().__init__()
        generator = torch.random.fork_rng(devices=[])
        with generator:
            torch.manual_seed(seed)
            self.stem, self.body, n = _backbone(task, places, channels)
            torch.manual_seed(seed + _HEAD)  # whatever the backbone drew, the head starts alike
            self.pooling: nn.Module = pooling(method, n)
            entries = n if method.forward == MEAN else n * (n + 1) // 2
            self.classifier = nn.Linear(entries, task.classes)

        self.n = n
        self.last_features: Tensor | None = None
        self.last_pooled: Tensor | None = None
        # A linear layer after a root of fixed features sees entries of another size for each
        # method. This factor, set by `calibrate`, makes their standard deviation 1.
        self.register_buffer("scale", torch.ones(()))
        self.scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of all classes."""
        return self.after_stem(self.stem(x))

    def after_stem(self, activation: Tensor) -> Tensor:
        """Return the scores from the activation of the stem."""
        features = self.body(activation).flatten(2)
        self.last_features = features
        pooled = self.pooling(features)
        self.last_pooled = pooled
        scores: Tensor = self.classifier(pooled.to(self.classifier.weight.dtype) / self.scale)
        return scores

    def calibrate(self, x: Tensor) -> None:
        """Set the scale so that pooled features of x have a standard deviation of 1.

        It is left as it is if they cannot be computed, or are not finite: each step of the training
        will count that.
        """
        with torch.no_grad():
            try:
                spread = self.pooling(self.body(self.stem(x)).flatten(2)).std()
            except Exception:
                return
            if torch.isfinite(spread) and spread > 0:
                self.scale.copy_(spread)

    @property
    def device(self) -> torch.device:
        """The device of all weights."""
        return self.classifier.weight.device

    @property
    def center(self) -> bool:
        """Whether the pooling subtracts the mean of each channel."""
        return bool(getattr(self.pooling, "center", True))

    def pool_by(self, method: Method) -> None:
        """Pool by another method from now on."""
        self.pooling = pooling(method, self.n).to(self.device)

    def backbone_digest(self) -> str:
        """Return 16 hex digits over the weights before the pooling."""
        hashed = hashlib.sha256()
        for part in (self.stem, self.body):
            for name, weight in part.state_dict().items():
                hashed.update(name.encode())
                hashed.update(weight.detach().cpu().numpy().tobytes())
        return hashed.hexdigest()[:16]


_HEAD = 1_000_003  # distance of the seed of the head from that of the backbone; any will do


class _Mean(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean(-1)


def pooling(method: Method, n: int) -> nn.Module:
    """Return what pools features of n channels, (b, n, M), to vectors.

    Raises InputError for a method that does not exist when it is first called, and at once for a
    parameter that a transform does not take.
    """
    if method.forward == MEAN:
        return _Mean()
    if method.forward in TRANSFORMS:
        return TransformPooling(n, method.forward, method.precision, **method.parameters)
    return CovariancePooling(
        n,
        None,
        forward=method.forward,
        backward=method.backward,
        precision=method.precision,
        **method.parameters,
    )


def _backbone(task: Task, places: int, channels: int) -> tuple[nn.Module, nn.Module, int]:
    """Return the stem, the body with the reduction, and n. For features, both do nothing."""
    if not task.has_images:
        return nn.Identity(), nn.Identity(), int(task.train.inputs.shape[1])

    side = int(task.train.inputs.shape[-1])
    widths = _WIDTHS[side]
    n = channels or CHANNELS[task.name]
    halved = _halvings(task, side, places or PLACES[task.name][0])
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise((1, *widths))):
        pool: nn.Module = nn.MaxPool2d(2) if i < halved else nn.Identity()
        layers.append(nn.Sequential(*_convolution(before, after, 3), pool))
    stem, *rest = layers
    body = nn.Sequential(*rest, *_convolution(widths[-1], n, 1))
    return stem, body, n


def _halvings(task: Task, side: int, places: int) -> int:
    """Return after how many convolutions the sides of a map are halved to leave a number of places.

    Raises SuiteError if no number does.
    """
    for halved in range(len(_WIDTHS[side])):
        if (side >> halved) ** 2 == places:
            return halved
    raise SuiteError(f"a network for {task.name} cannot pool over {places} places.")


def _convolution(before: int, after: int, side: int) -> tuple[nn.Module, ...]:
    """Return a convolution with batch normalization and ReLU, initialised as in iSQRT-COV."""
    convolution = nn.Conv2d(before, after, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.BatchNorm2d(after), nn.ReLU()
