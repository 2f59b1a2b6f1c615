"""Covariances of features that the package stores, and a stored matrix. No other package is needed.

Features of a network do not have the same bits on every machine, so that they were computed once.
The scripts that did so are `mssbench/problems/data/make_convfeat.py` and, for `captured`,
`mssbench/training/make_captured.py`, which trains a network.
"""

from functools import lru_cache
from importlib.resources import files
from typing import IO, Literal, TypeAlias

import numpy as np

from mssbench.problems import spectra
from mssbench.problems.generator import Bounds
from mssbench.problems.registry import register_problem
from mssbench.problems.rng import Floats, Streams

_POOLING = "Li et al., Towards faster training of global covariance pooling networks, CVPR 2018"
_IMAGES, _POSITIONS, _CHANNELS = 32, 49, 64  # the shape of each stored set of features
Stage: TypeAlias = Literal["start", "first", "middle", "end"]


@register_problem(
    cite=_POOLING,
    bounds={"positions": Bounds(2, _POSITIONS)},
    max_size=_CHANNELS,
    samples=lambda *_, positions: positions,
)
def convfeat(n: int, rng: Streams, *, positions: int = 49) -> Floats:
    """Covariance of the features of a fixed random convolution network on real images.

    A = covariance over 49 image positions of the first n of 64 rectified channels. The package
    stores the features of 32 images, of which matrix i uses number (i mod 32). From index 32 on, or
    with another number of positions, the positions are drawn with replacement. The matrix is
    singular from n = 49 on, as in covariance pooling.
    """
    return _covariances(features("convfeat_64x49.npz", "features"), n, rng, positions)


@register_problem(
    cite=_POOLING,
    bounds={"positions": Bounds(2, _POSITIONS)},
    max_size=_CHANNELS,
    samples=lambda *_, positions, **__: positions,
)
def captured(n: int, rng: Streams, *, stage: Stage = "end", positions: int = 49) -> Floats:
    """Covariance of the features that a network pools at one of four stages of its training.

    A = covariance over 49 image positions of the first n of 64 rectified channels, for 32 test
    images. The network learns the task `tex12` of `mssbench train` with the exact root and gradient
    (eigh + loewner), seed 0 and learning rate 0.1, in 8 epochs. Stages: `start`, before the first
    step; `first`, after epoch 1; `middle`, after epoch 5, the first one with a tenth of the
    learning rate; `end`, after epoch 8. As in a step of the training, batch normalization uses the
    mean and variance of the images themselves. From index 32 on, or with another number of
    positions, the positions are drawn with replacement.

    At n = 64 the rank is 48, but for three matrices of `first` and one of `middle`, whose ranks are
    45 and 46. Medians of λmax / λmin over λ > 0, of λmax / trace, and of exp(entropy of λ / trace);
    and how many of an image's channels are zero at all positions:

    * start:  4e3, 0.24, 16; none
    * first:  2e5, 0.49, 6; up to 8
    * middle: 3e5, 0.52, 6; up to 11
    * end:    2e5, 0.50, 6; up to 12

    Because of such channels, after the start some matrices of a smaller size are singular too. In
    float64 the references of all sizes are exact enough to measure the error of a method. In
    float32 they are not, but for `start` up to n = 32: the matrices have nonzero eigenvalues as
    small as rounding errors.

    The features are stored in float16. This rounding left the rank of every matrix as it was, and
    changed the median conditions by less than 1 %.
    """
    return _covariances(features("captured_64x49.npz", stage), n, rng, positions)


@register_problem(cite="LAPACK Users' Guide, 3rd edition, SIAM 1999", fixed_size=64)
def pinned(
    n: int, rng: Streams, *, matrix: Literal["eigh_nonconv_64"] = "eigh_nonconv_64"
) -> Floats:
    """A stored matrix on which a widely used float32 eigensolver does not converge.

    eigh_nonconv_64: a finite covariance, exact in float32, with 43 scattered zero rows and columns.
    All matrices of the batch are equal.
    """
    with _data(f"{matrix}.npy") as file:
        stored = np.load(file).astype(np.float64)
    return np.tile(stored.reshape(n, n), (len(rng), 1, 1))


# One entry for each array that is stored.
@lru_cache(maxsize=5)
def features(file_name: str, key: str) -> Floats:
    """Return an array of a stored file of features, (32, 49, 64): images, positions, channels."""
    with _data(file_name) as file, np.load(file) as arrays:
        array: Floats = arrays[key].astype(np.float64)
    return array


def _covariances(stored: Floats, n: int, rng: Streams, positions: int) -> Floats:
    """Return covariances of the first n channels, (b, n, n), from features as `features` has them.

    Matrix i is that of image (i mod 32): over all positions if i < 32 and all are asked for, and
    otherwise over positions that are drawn with replacement.
    """
    chosen = stored[[i % _IMAGES for i in rng.indices], :, :n]  # (b, 49, n)
    drawn = rng.integers(_POSITIONS, positions)
    for k, index in enumerate(rng.indices):
        if index < _IMAGES and positions == _POSITIONS:
            drawn[k] = np.arange(_POSITIONS)
    return spectra.gram(np.take_along_axis(chosen, drawn[:, :, None], axis=1))


def _data(name: str) -> IO[bytes]:
    return (files("mssbench.problems") / "data" / name).open("rb")
