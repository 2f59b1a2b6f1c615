"""Matrices with a chosen spectrum, and their exact roots and gradients in float64.

Matrices and references are computed with numpy alone, independently of the methods of mssbench.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.methods.method import Function
from mssbench.methods.pair import Pair

# Machine epsilon of each precision: the distance from 1 to the next larger number.
UNIT = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}


def spectrum(kind: str, n: int) -> np.ndarray:
    """Return eigenvalues in descending order, (n,).

    kind: `near_one` is linear from 1.06 to 0.94, where every series converges; `condition_100` is
    logarithmic from 1 to 1/100, and likewise for other numbers.
    """
    if kind == "near_one":
        return np.linspace(1.06, 0.94, n)
    return np.geomspace(1.0, 1 / float(kind.removeprefix("condition_")), n)


@cache
def rotation(n: int, seed: int = 0) -> np.ndarray:
    """Return a random orthogonal matrix, (n, n), which is determined by n and the seed."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def with_spectrum(w: Sequence[float] | np.ndarray, batch: int = 3, seed: int = 0) -> np.ndarray:
    """Return symmetric matrices with the eigenvalues w and random eigenvectors, (batch, n, n)."""
    v = np.stack([rotation(len(w), seed + i) for i in range(batch)])
    return symmetric((v * np.asarray(w)) @ v.swapaxes(-1, -2))


def cotangent(shape: tuple[int, ...], seed: int = 7) -> np.ndarray:
    """Return a random symmetric cotangent: the gradient of a loss with respect to the root."""
    return symmetric(np.random.default_rng(seed).standard_normal(shape))


def symmetric(x: np.ndarray) -> np.ndarray:
    """Return the symmetric part of x, (..., n, n)."""
    half: np.ndarray = (x + np.swapaxes(x, -1, -2)) / 2
    return half


def exact_root(a: np.ndarray, function: Function) -> np.ndarray:
    """Return the root of a, (..., n, n) in float64, by an eigendecomposition."""
    w, v = np.linalg.eigh(a)
    d = np.sqrt(w) if function == "sqrt" else 1 / np.sqrt(w)
    root: np.ndarray = (v * d[..., None, :]) @ v.swapaxes(-1, -2)
    return root


def exact_gradient(a: np.ndarray, g: np.ndarray, function: Function) -> np.ndarray:
    """Return the gradient of a loss with respect to a, (..., n, n), in float64.

    g: the gradient of the loss with respect to the root. The result is computed by the divided
    differences of the root, as in the theorem of Daleckii and Krein (Higham, Functions of Matrices,
    2008, theorem 3.11).
    """
    w, v = np.linalg.eigh(a)
    d = np.sqrt(w)
    di, dj = d[..., :, None], d[..., None, :]
    divided = 1 / (di + dj) if function == "sqrt" else -1 / (di * dj * (di + dj))
    vt = v.swapaxes(-1, -2)
    gradient: np.ndarray = v @ (divided * (vt @ symmetric(g) @ v)) @ vt
    return gradient


def root_and_gradient(pair: Pair, a: Array, g: Array) -> tuple[Array, Array]:
    """Return the root of a and the gradient, both (..., n, n), as a pair of methods computes them.

    g: the cotangent, the gradient of a loss with respect to the root. The results are arrays of the
    library of a.
    """
    if arrays.library(a) == "torch":
        leaf = a.detach().clone().requires_grad_()
        root = pair(leaf)
        root.backward(g)
        return root.detach(), leaf.grad
    kept = pair.keep(a)
    return getattr(kept, pair.function), pair.gradient(kept, g)


def error(x: Array, exact: np.ndarray) -> float:
    """Return the relative error of x in the Frobenius norm, the largest of the batch.

    NaN if x has a NaN. exact: the exact matrices, (b, n, n).
    """
    x = x if isinstance(x, np.ndarray) else arrays.to_numpy(x)
    norm = np.linalg.norm(exact, axis=(-2, -1))
    return float(np.max(np.linalg.norm(x - exact, axis=(-2, -1)) / norm))
