"""What a trained network is worth: its accuracy, and the rank and condition of what it pools."""

import math

import torch
from torch import Tensor

from mssbench.training.network import Network
from mssbench.training.pooling import covariance
from mssbench.training.tasks.task import Data

_CHUNK = 200  # samples that are evaluated at once, to bound the memory
NULL = 1e-13  # eigenvalues below this share of the largest one, in float64, count as zeros


def evaluated(network: Network, data: Data) -> tuple[float, int]:
    """Return the accuracy, and the number of samples without a finite result, which are wrong."""
    network.eval()
    right = failed = 0
    with torch.no_grad():
        for start in range(0, len(data), _CHUNK):
            inputs, labels = (t[start : start + _CHUNK].to(network.device) for t in data)
            for part, of_part in _parts(network, inputs, labels):
                if part is None:
                    failed += len(of_part)
                    continue
                finite = torch.isfinite(part).all(-1)
                failed += int((~finite).sum())
                right += int(((part.argmax(-1) == of_part) & finite).sum())
    return right / len(data), failed


def _parts(network: Network, inputs: Tensor, labels: Tensor) -> list[tuple[Tensor | None, Tensor]]:
    """Return the scores of some samples; if they raise together, of each sample alone.

    The scores of a sample that raises alone are None: one matrix on which LAPACK does not converge
    must not make a whole batch wrong.
    """
    try:
        return [(network(inputs), labels)]
    except Exception:
        if len(inputs) == 1:
            return [(None, labels)]
        single = [_parts(network, inputs[i : i + 1], labels[i : i + 1]) for i in range(len(inputs))]
        return [part for parts in single for part in parts]


def spectrum(features: Tensor | None, *, center: bool = True) -> tuple[float, float]:
    """Return the median rank and condition number of the covariances of some features.

    center: whether the mean of each channel is subtracted first. NaN if the features are not known
    or not finite.
    """
    if features is None or not bool(torch.isfinite(features).all()):
        return math.nan, math.nan
    a = covariance(features.detach().double(), center=center)
    w = torch.linalg.eigvalsh(a).clamp(min=0)
    largest = w[:, -1:]
    live = w > NULL * largest
    smallest = torch.where(live, w, torch.full_like(w, math.inf)).amin(-1)
    return float(live.sum(-1).double().median()), float((largest[:, 0] / smallest).median())
