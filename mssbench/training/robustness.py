"""Evaluate a trained network on changed test data, and with truncated eigenvalues.

The changes of images have five severities each, of which 1, 3 and 5 are evaluated. Images have
standard deviation 1 (see `tasks.images`), so that one severity suits all of them. Kinds and rising
severities follow Hendrycks & Dietterich, Benchmarking neural network robustness to common
corruptions and perturbations, ICLR 2019; the values are this project's, for images of 28 pixels.

`truncation` sets the smallest eigenvalues of the covariance of each sample to zero, before the
network pools, without training it again. Only live eigenvalues count: in the null space of a
singular covariance there is nothing to truncate.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mssbench.problems.rng import Floats, Streams
from mssbench.records.training_values import SHARES, TRUNCATION
from mssbench.training.evaluation import NULL, evaluated
from mssbench.training.network import Network
from mssbench.training.pooling import covariance
from mssbench.training.tasks.task import SPLIT_SEED, Data, Task
from mssbench.training.transforms import TransformPooling

SEVERITIES = (1, 3, 5)

# Values by severity, from 1 to 5.
_NOISE = (0.15, 0.3, 0.5, 0.75, 1.0)  # standard deviation, that of an image is 1
_IMPULSES = (0.01, 0.03, 0.06, 0.1, 0.17)  # share of the pixels
_IMPULSE = 2.5  # their absolute value
_BLUR = (0.4, 0.6, 0.8, 1.1, 1.5)  # standard deviation of the Gaussian, in pixels
_CONTRAST = (0.75, 0.6, 0.45, 0.3, 0.2)  # factor
_PIXELS = (0.85, 0.7, 0.6, 0.5, 0.4)  # remaining share of the pixels along a side
_GAMMA = (0.85, 0.7, 1.4, 1.8, 2.4)  # exponent
_GREYS = 5.0  # range of grey values that `gamma` maps to [0, 1]: 2.5 standard deviations each way


class Evaluation(TypedDict):
    """The accuracy of a network under one change, as in the rows of the table of robustness."""

    change: str
    severity: float
    accuracy: float
    failed: int


def evaluations(network: Network, task: Task) -> list[Evaluation]:
    """Return the accuracy of a network under each change: of images, if the task has them."""
    found = []
    for kind in _CHANGES if task.has_images else ():
        for severity in SEVERITIES:
            changed = Data(corrupted(task.test.inputs, kind, severity), task.test.labels)
            found.append(_evaluation(network, changed, kind, severity))
    for share in SHARES if _exists_at_zero(network) else ():
        with _truncated(network, share / 100):
            found.append(_evaluation(network, task.test, TRUNCATION, share))
    return found


def _exists_at_zero(network: Network) -> bool:
    """Whether what a network pools exists for a covariance with zero eigenvalues."""
    pooling = network.pooling
    return not isinstance(pooling, TransformPooling) or pooling.exists_at_zero


def _evaluation(network: Network, data: Data, change: str, severity: float) -> Evaluation:
    accuracy, failed = evaluated(network, data)
    return {
        "change": change,
        "severity": float(severity),
        "accuracy": accuracy,
        "failed": failed,
    }


def corrupted(inputs: Tensor, kind: str, severity: int) -> Tensor:
    """Return changed images, (samples, 1, height, width), the same on every machine.

    kind: one of `kinds()`. severity: from 1 to 5.
    """
    images = inputs.double().numpy()
    draw = Streams(kind, severity, range(len(images)), SPLIT_SEED)
    changed = _CHANGES[kind](images, severity - 1, draw)
    return torch.from_numpy(np.ascontiguousarray(changed)).float()


def kinds() -> tuple[str, ...]:
    """Return the names of all changes of images."""
    return tuple(_CHANGES)


def _noise(images: Floats, i: int, draw: Streams) -> Floats:
    height, width = images.shape[-2:]
    return images + _NOISE[i] * draw.normal(height, width)[:, None]


def _impulses(images: Floats, i: int, draw: Streams) -> Floats:
    height, width = images.shape[-2:]
    chance = draw.uniform(height * width).reshape(images.shape)
    half = _IMPULSES[i] / 2
    darkened = np.where(chance < half, -_IMPULSE, images)
    return np.where(chance > 1 - half, _IMPULSE, darkened)


def _blurred(images: Floats, i: int, _: Streams) -> Floats:
    blurred: Floats = gaussian_filter(images, (0, 0, _BLUR[i], _BLUR[i]))
    return blurred


def _faded(images: Floats, i: int, _: Streams) -> Floats:
    return images * _CONTRAST[i]


def _pixelated(images: Floats, i: int, _: Streams) -> Floats:
    """Return images whose pixels are repeated, since fewer of them are taken along each side."""
    side = images.shape[-1]
    fewer = max(2, round(side * _PIXELS[i]))
    source = ((np.arange(fewer) + 0.5) * side / fewer).astype(int)
    chosen = source[np.arange(side) * fewer // side]
    return images[..., chosen, :][..., :, chosen]


def _brightened(images: Floats, i: int, _: Streams) -> Floats:
    between = np.clip(images / _GREYS + 0.5, 1e-3, 1.0)  # a power of 0 would be 0 for all exponents
    changed: Floats = (between ** _GAMMA[i] - 0.5) * _GREYS
    return changed


_CHANGES: Mapping[str, Callable[[Floats, int, Streams], Floats]] = {
    "gaussian_noise": _noise,
    "impulse_noise": _impulses,
    "blur": _blurred,
    "contrast": _faded,
    "pixelate": _pixelated,
    "gamma": _brightened,
}


@contextmanager
def _truncated(network: Network, share: float) -> Iterator[None]:
    """Zero a share of the live eigenvalues of all covariances that a network pools, the smallest.

    The features are projected onto the other eigenvectors, so that every method of pooling sees the
    truncated covariance, also one that never forms it. The means of the channels stay.
    """

    def project(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (truncated(inputs[0], share, center=network.center),)

    hook = network.pooling.register_forward_pre_hook(project)
    try:
        yield
    finally:
        hook.remove()


def truncated(features: Tensor, share: float, *, center: bool = True) -> Tensor:
    """Return features (b, n, M) whose covariance lacks a share of its smallest live eigenvalues.

    center: whether it is a covariance, or the matrix of second moments.
    """
    x = features.double()
    mean = x.mean(-1, keepdim=True) if center else torch.zeros_like(x[..., :1])
    x = x - mean
    w, v = torch.linalg.eigh(covariance(x, center=False))  # ascending
    live = w > NULL * w[:, -1:]
    rank = live.sum(-1, keepdim=True)
    position = torch.arange(w.shape[-1], device=w.device) - (w.shape[-1] - rank)  # among the live
    kept = position >= (share * rank).round()
    v = v * kept[:, None, :]
    projected: Tensor = mean + v @ (v.mT @ x)
    return projected.to(features.dtype)
