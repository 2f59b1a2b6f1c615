"""The root of a covariance from its features, for comparison with methods that take the covariance.

Suites measure it as the function `sqrt_x`.
"""

from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _root(x: Array) -> Array:
    # Imported here, so that listing the methods does not import torch.
    from mssbench.methods.features import sqrtm_of_features

    return sqrtm_of_features(x)


@register_forward(
    cite="Golub & Van Loan, Matrix Computations, 4th ed., 2013, §2.4; this project, 2026",
    # Operations on the smaller matrix, a quarter of the size, and on matrices of the full size.
    products=lambda: 6.0,
    yields=(),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    of_features=_root,
)
def from_features(a: Array) -> Root:
    """The root from features X, (..., n, M), by the M x M matrix Xᵀ X / M if M < n.

    The result is the root of the covariance X Xᵀ / M, (..., n, n). It is measured for the function
    `sqrt_x`, together with methods that form X Xᵀ / M first. For M >= n it does so too, and calls
    eigh. It has its own gradient with respect to X, which autograd uses, and therefore pairs with
    `autodiff`. Programs call it as `mssbench.sqrtm_of_features(x)`.
    """
    del a
    raise Unsupported("from_features computes no root: measure it with function = sqrt_x")
