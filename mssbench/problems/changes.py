"""Modifiers, which change the matrices of a problem: `wishart(ratio=2)|scale(factor=1e-6)`."""

from typing import Literal

import numpy as np

from mssbench.problems import spectra
from mssbench.problems.generator import Bounds
from mssbench.problems.registry import register_modifier
from mssbench.problems.rng import Floats, Streams

_HIGHAM = "Higham, Functions of Matrices, SIAM 2008"


@register_modifier(cite=_HIGHAM, bounds={"factor": Bounds(0.0, 1e30, open=True)})
def scale(master: Floats, rng: Streams, *, factor: float = 1e-6) -> Floats:
    """Scales the matrices by `factor`, to expose absolute thresholds, overflow and underflow.

    A <- factor A. If a precision cannot hold the values, the cast raises Unsupported.
    """
    del rng
    return master * factor


@register_modifier(
    cite="Lin & Maji, Improved Bilinear Pooling with CNNs, BMVC 2017",
    bounds={"amount": Bounds(0.0, open=True)},
)
def ridge(master: Floats, rng: Streams, *, amount: float = 1.0) -> Floats:
    """Adds a multiple of the identity, as layers do to avoid singular matrices.

    A <- A + amount I.
    """
    del rng
    return master + amount * np.eye(master.shape[1])


@register_modifier(cite=_HIGHAM, bounds={"position": Bounds(0)})
def mixed_batch(
    master: Floats,
    rng: Streams,
    *,
    bad: Literal["singular", "zero", "ill_conditioned", "tiny", "huge"] = "singular",
    position: int = 0,
) -> Floats:
    """Replaces one matrix by a difficult one, to expose stopping rules of the whole batch.

    It also exposes failures that spread to other matrices. singular: R([logspec(n/2, 100), 0,
    ...]); ill_conditioned: R(logspec(1e12)); tiny and huge: the matrix itself times 1e-8 or 1e8;
    zero: 0. `position`: the index of the matrix; smaller batches are not changed.
    """
    where = [k for k, index in enumerate(rng.indices) if index == position]
    out = master.copy()
    if bad in ("tiny", "huge", "zero"):
        out[where] *= {"tiny": 1e-8, "huge": 1e8, "zero": 0.0}[bad]
        return out + 0.0  # adding 0 removes negative zeros

    n = master.shape[1]
    live = max(1, n // 2)
    if bad == "singular":
        values = spectra.logspaced(live, 1e2) + (0.0,) * (n - live)
    else:
        values = spectra.logspaced(n, 1e12)

    if where:
        out[where] = spectra.rotate(values, rng)[where]
    return out
