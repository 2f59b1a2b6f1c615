"""Random covariances like those that a pooling layer of a convolutional network receives.

Features of an actual network do not have the same bits on every machine, and stored ones take
0.2 MB for 64 channels. These features are drawn at random: fields over the positions of an image
are mixed, normalised and rectified.
"""

import math

import numpy as np

from mssbench.problems import spectra
from mssbench.problems.generator import Bounds
from mssbench.problems.registry import register_problem
from mssbench.problems.rng import Floats, Streams

# _FIELDS and _DECAY are fitted so that the spectra resemble those of a random convolution network
# on images: with 256 channels at 196 positions the largest eigenvalue is 0.24 of the trace in both.
_FIELDS = 64
_DECAY = 1.5  # the variance of field k is proportional to (k + 1)^-1.5
_SMOOTHINGS = 2  # each widens the window by one position to both sides


@register_problem(
    cite="Li et al., Towards faster training of global covariance pooling networks, CVPR 2018",
    bounds={"positions": Bounds(2, 4096), "noise": Bounds(0.0, 100.0, open=True)},
    samples=lambda *_, positions, **__: positions,
)
def pooled_features(n: int, rng: Streams, *, positions: int = 196, noise: float = 0.3) -> Floats:
    """Covariance of n rectified channels over image positions, as pooling layers have at any width.

    A = covariance over M = positions of X = max(Z, 0), (n, M). Z = W F + noise E, with each channel
    scaled to mean 0 and variance 1. F: 64 fields on a square grid, normal numbers smoothed twice by
    (1, 2, 1) / 4 along both axes, with variances proportional to (k+1)^-1.5 of sum 1. W, E: normal
    numbers. The rank is M - 1 if M <= n. Medians of λmax / λmin over λ > 0, of λmax / trace, and of
    exp(entropy of λ / trace):

    * n = 64:  M = 49: 2e3, 0.26, 15; M = 196: 4e2, 0.23, 21
    * n = 256: M = 49: 2e2, 0.26, 16; M = 196: 1e4, 0.24, 31; M = 784: 2e3, 0.22, 43
    * n = 512: M = 196: 2e3, 0.22, 34; M = 784: 2e4, 0.22, 51

    In float32 the gradient for 256 channels at 196 positions is not known accurately enough to
    measure the error of a method, because nonzero eigenvalues are as small as rounding errors. More
    noise makes the spectrum flatter and its smallest eigenvalues larger.
    """
    fields = _standardised(_smooth(rng, positions))  # (b, 64, M)
    amplitudes = np.array(spectra.powers(_FIELDS, _DECAY / 2))
    amplitudes = amplitudes / np.sqrt(spectra.sequential_sum(amplitudes * amplitudes))
    weights = rng.normal(n, _FIELDS) * amplitudes

    mixed = noise * rng.normal(n, positions)
    for k in range(_FIELDS):
        mixed += weights[:, :, k, None] * fields[:, None, k]
    features = np.maximum(_standardised(mixed), 0.0)
    return spectra.gram(np.ascontiguousarray(features.swapaxes(1, 2)))


def _smooth(rng: Streams, positions: int) -> Floats:
    """Return smoothed normal numbers, (b, 64, positions), on the smallest square grid that fits."""
    side = math.isqrt(positions - 1) + 1
    x = rng.normal(_FIELDS, side + 2 * _SMOOTHINGS, side + 2 * _SMOOTHINGS)
    for _ in range(_SMOOTHINGS):
        x = (x[:, :, :-2] + 2.0 * x[:, :, 1:-1] + x[:, :, 2:]) * 0.25
        x = (x[..., :-2] + 2.0 * x[..., 1:-1] + x[..., 2:]) * 0.25
    return x.reshape(len(rng), _FIELDS, side * side)[..., :positions]


def _standardised(x: Floats) -> Floats:
    """Scale each row of x: (b, c, M) to mean 0 and standard deviation 1."""
    x = x - (spectra.sequential_sum(x) / x.shape[-1])[..., None]
    deviation: Floats = np.sqrt(spectra.sequential_sum(x * x) / x.shape[-1])
    return x / deviation[..., None]
