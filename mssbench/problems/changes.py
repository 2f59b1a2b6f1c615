"""Changes to a whole batch, written after a problem: `wishart(ratio=2)|scale(factor=1e-6)`."""

from typing import Literal

import numpy as np

from mssbench.problems import spectra
from mssbench.problems.generator import Bounds
from mssbench.problems.registry import register_modifier
from mssbench.problems.rng import Floats, Streams

_HIGHAM = "Higham, Functions of Matrices, SIAM 2008"


@register_modifier(cite=_HIGHAM, bounds={"factor": Bounds(0.0, 1e30, open=True)})
def scale(master: Floats, rng: Streams, *, factor: float = 1e-6) -> Floats:
    """The same matrices times a factor: absolute thresholds, overflow, underflow.

    A <- factor A. Where a precision cannot hold the values, the cast says so.
    """
    del rng
    return master * factor


@register_modifier(
    cite="Lin & Maji, Improved Bilinear Pooling with CNNs, BMVC 2017",
    bounds={"amount": Bounds(0.0, open=True)},
)
def ridge(master: Floats, rng: Streams, *, amount: float = 1.0) -> Floats:
    """The same matrices plus a multiple of the identity, as layers do that fear a singular one.

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
    """One bad matrix among the others: stopping rules and failures that act on the whole batch.

    singular: R([logspec(n/2, 100), 0, ...]); ill_conditioned: R(logspec(1e12)); tiny and huge: the
    matrix itself times 1e-8 or 1e8; zero: 0. It stands at `position`, in every batch that long.
    """
    where = [k for k, index in enumerate(rng.indices) if index == position]
    out = master.copy()
    if bad in ("tiny", "huge", "zero"):
        out[where] *= {"tiny": 1e-8, "huge": 1e8, "zero": 0.0}[bad]
        return out + 0.0  # no negative zeros
    n = master.shape[1]
    live = max(1, n // 2)
    if bad == "singular":
        values = spectra.logspaced(live, 1e2) + (0.0,) * (n - live)
    else:
        values = spectra.logspaced(n, 1e12)
    if where:
        out[where] = spectra.rotate(values, rng)[where]
    return out
