"""Synthetic problems: matrices with a chosen spectrum and random eigenvectors.

Each problem has one kind of difficulty. R(spectrum) is the random rotation of `spectra.rotate`, and
n is the size. Spectra descend from 1 unless the formula says otherwise.
"""

import numpy as np

from mssbench.problems import spectra
from mssbench.problems.generator import Bounds
from mssbench.problems.registry import register_problem
from mssbench.problems.rng import Floats, Streams
from mssbench.problems.spectra import rotate

_FRACTION = Bounds(0.0, 1.0)
# Beyond 1e15 the rounding errors of the rotation determine the smallest eigenvalues.
_CONDITION = Bounds(1.0, 1e15)
_HIGHAM = "Higham, Functions of Matrices, SIAM 2008"


@register_problem(cite=_HIGHAM, bounds={"condition": _CONDITION})
def logspec(n: int, rng: Streams, *, condition: float = 1e6) -> Floats:
    """Eigenvalues in equal ratios, to measure accuracy as a function of the condition.

    A = R(condition^(-i/(n-1))). From 1e8 on, gaps are smaller than the spacing of float32; from
    1e10 on, the matrix rounded to float32 has negative eigenvalues.
    """
    return rotate(spectra.logspaced(n, condition), rng)


@register_problem(
    cite="Field, Relations between the statistics of natural images, JOSA A 1987",
    bounds={"p": Bounds(0.0, 20.0, open=True)},
)
def power(n: int, rng: Streams, *, p: float = 1.0) -> Floats:
    """Eigenvalues that decay as a power of their index, as those of natural data do.

    A = R((i+1)^-p). With a large p, iterations on a normalised matrix need many steps.
    """
    return rotate(spectra.powers(n, p), rng)


@register_problem(
    cite="Li et al., Is second-order information helpful, ICCV 2017",
    bounds={"p": Bounds(0.0, 20.0, open=True), "null": _FRACTION},
)
def power_null(n: int, rng: Streams, *, p: float = 1.5, null: float = 0.25) -> Floats:
    """A power law with a null space, the spectrum closest to covariances of a layer's features.

    A = R([(i+1)^-p for i < n - floor(null n), 0, ...]). It is singular, so that the gradient does
    not exist between two null directions.
    """
    live = max(1, n - int(null * n))
    return rotate(spectra.powers(live, p) + (0.0,) * (n - live), rng)


def _clusters_fit(n: int, m: int, **_: float) -> str | None:
    return None if n >= m else f"{m} clusters need a size of at least {m}"


@register_problem(
    cite="Ionescu et al., Matrix backpropagation for deep networks, ICCV 2015",
    bounds={"m": Bounds(1), "gap": Bounds(0.0, 0.1), "condition": _CONDITION},
    fits=_clusters_fit,
    sizes="at least m",
    repeated=True,
)
def clusters(
    n: int, rng: Streams, *, m: int = 4, gap: float = 0.0, condition: float = 1e2
) -> Floats:
    """Equal or nearly equal eigenvalues, for which 1/(w_i - w_j) is infinite or very large.

    A = R(c_k (1 + gap j)), m cluster centres c_k log-spaced over the condition, value i in cluster
    k = floor(i m / n) as its member j = 0, 1, ... Gradients that divide by differences fail; the
    Loewner form is not affected.
    """
    return rotate(spectra.clustered(n, m, gap, condition), rng)


@register_problem(cite=_HIGHAM, repeated=True)
def identity(n: int, rng: Streams) -> Floats:
    """The identity, with equal eigenvalues that normalisation by the trace makes small.

    A = I. Five Newton–Schulz steps are not accurate even here, since the trace turns I into I/n.
    """
    return np.tile(np.eye(n), (len(rng), 1, 1))


@register_problem(cite=_HIGHAM, bounds={"eps": Bounds(0.0, 1e-3, open=True)}, repeated=True)
def near_identity(n: int, rng: Streams, *, eps: float = 1e-6) -> Floats:
    """The identity with noise, so that the gaps between eigenvalues are noise.

    A = I + eps (E + Eᵀ), E of independent normal numbers.
    """
    e = rng.normal(n, n)
    return np.eye(n) + eps * (e + e.swapaxes(1, 2))


@register_problem(
    cite="Marchenko and Pastur, Mathematics of the USSR-Sbornik 1967",
    bounds={"ratio": Bounds(0.0, 1000.0, open=True)},
    samples=lambda n, ratio: max(2, round(ratio * n)),
)
def wishart(n: int, rng: Streams, *, ratio: float = 2.0) -> Floats:
    """Sample covariance of white noise, the usual test input: flatter than any of real data.

    A = XᵀX/N of N = round(ratio n) centred normal rows, at least 2. With ratio < 1 there is a null
    space; with ratio = 1 the spectrum reaches zero; ratio = 10 is well conditioned.
    """
    return spectra.gram(rng.normal(max(2, round(ratio * n)), n))


@register_problem(cite="Song, Sebe & Wang, Fast Differentiable Matrix Square Root, ICLR 2022")
def gram(n: int, rng: Streams) -> Floats:
    """Product of a square random factor, without scaling: entries and condition grow with n.

    A = XᵀX, X n by n of independent normal numbers. Papers report absolute errors of entries on it.
    """
    return spectra.moment(rng.normal(n, n))


@register_problem(
    cite="Song et al., Why approximate matrix square root outperforms accurate SVD "
    "in global covariance pooling, ICCV 2021",
    bounds={"rank": _FRACTION, "condition": _CONDITION},
)
def rankdef(n: int, rng: Streams, *, rank: float = 0.5, condition: float = 1e2) -> Floats:
    """A matrix of known rank, with many zero eigenvalues that rounding perturbs.

    `rank` is a fraction: floor(rank · n) eigenvalues, but at least one, are those of `logspec` with
    this condition number. All others are 0.
    """
    live = max(1, int(rank * n))
    return rotate(spectra.logspaced(live, condition) + (0.0,) * (n - live), rng)


@register_problem(
    cite="Johnstone, On the distribution of the largest eigenvalue, Annals of Statistics 2001",
    bounds={"top": Bounds(10.0, 1e12)},
    repeated=True,
)
def spiked(n: int, rng: Streams, *, top: float = 100.0) -> Floats:
    """A few large eigenvalues and many that are all equal to 1.

    A = R([top, top/2, top/5, top/10, 1, ..., 1]): 100, 50, 20, 10 by default.
    """
    values = [top, top / 2, top / 5, top / 10, *([1.0] * n)]
    return rotate(tuple(values[:n]), rng)


@register_problem(
    cite="Lu et al., Dying ReLU and initialization, CiCP 2020", bounds={"frac": _FRACTION}
)
def dead_channels(n: int, rng: Streams, *, frac: float = 0.7) -> Floats:
    """Covariance of rectified features with dead channels: rows and columns of exact zeros.

    A = covariance of max(normal, 0), N = 4 n; floor(frac n) random rows and columns are exactly 0.
    Zero is a multiple eigenvalue, and some float32 eigensolvers fail on such matrices.
    """
    x = np.maximum(rng.normal(4 * n, n), 0.0)
    dead = rng.subset(int(frac * n), n)
    x[np.arange(len(rng))[:, None], :, dead] = 0.0
    return spectra.gram(x)


@register_problem(
    cite="Ionescu et al., Matrix backpropagation for deep networks, ICCV 2015",
    bounds={"ratio": Bounds(0.0, 1000.0, open=True)},
    samples=lambda n, ratio: max(2, int(ratio * n)),
)
def relu_features(n: int, rng: Streams, *, ratio: float = 0.766) -> Floats:
    """Covariance of sparse rectified features, as in a pooling layer, but with a flat spectrum.

    A = covariance of max(normal - 0.3, 0), N = floor(ratio n) rows, at least 2.
    """
    x = rng.normal(max(2, int(ratio * n)), n)
    return spectra.gram(np.maximum(x - 0.3, 0.0))


# In units of 2^-50 the entries of Y², and all partial sums, are integers below 2^(2·25+1), which
# float64 represents exactly.
_ROOT_BITS = 25


@register_problem(cite=_HIGHAM, bounds={"condition": Bounds(1.0, 1e10)})
def exact_root(n: int, rng: Streams, *, condition: float = 1e6) -> Floats:
    """A matrix whose root is known exactly, so that no reference is needed.

    Y = round(2^25 R(logspec(sqrt(condition)))) / 2^25, A = Y Y, where no operation in Y Y rounds.
    This holds for the float64 matrix only, and not after a cast.
    """
    y = known_root(n, rng, condition)

    def square(part: slice) -> Floats:
        rows = y[part]
        a = np.zeros_like(rows)
        for k in range(n):
            a += rows[:, :, k, None] * rows[:, k, None, :]
        return a

    return spectra.by_parts(square, len(rng), n)


def known_root(n: int, rng: Streams, condition: float) -> Floats:
    """Return the matrices Y whose squares are the problem `exact_root`, (b, n, n), b = len(rng).

    Their entries are multiples of 2^-25, so that Y Y is exact in float64. condition: that of Y Y.
    """
    y = rotate(spectra.logspaced(n, float(np.sqrt(condition))), rng)
    return np.rint(y * 2.0**_ROOT_BITS) * 2.0**-_ROOT_BITS
