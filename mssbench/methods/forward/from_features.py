"""The root of a covariance from its features, as a row beside the methods that are given it."""

from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _root(x: Array) -> Array:
    # imported when it is called: a list of methods needs no torch
    from mssbench.methods.features import sqrtm_of_features

    return sqrtm_of_features(x)


@register_forward(
    cite="Golub & Van Loan, Matrix Computations, 4th ed., 2013, §2.4; this project, 2026",
    products=lambda: (
        6.0
    ),  # of a quarter of the covariance's size, and of the covariance: see counts
    yields=(),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    of_features=_root,
)
def from_features(a: Array) -> Root:
    """The root from features X, (..., n, M), by the M x M matrix Xᵀ X / M where M < n.

    The root is (..., n, n), as that of the covariance X Xᵀ / M.
    Its rows are those of the function `sqrt_x`, beside methods that form X Xᵀ / M first. For M >= n
    it does that too, and takes eigh. Its gradient with respect to X is its own: it pairs with
    `autodiff`, which finds it. In a program it is called as `mssbench.sqrtm_of_features(x)`.
    """
    del a
    raise Unsupported("from_features computes no root: its rows are those of the function sqrt_x")
