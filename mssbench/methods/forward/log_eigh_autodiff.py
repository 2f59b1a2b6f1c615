"""The matrix logarithm by an eigendecomposition that torch differentiates."""

from mssbench.arrays import Array, namespace, transpose
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _logarithm(a: Array) -> Array:
    xp = namespace(a)
    w, v = xp.linalg.eigh(a)
    return (v * xp.log(w)[..., None, :]) @ transpose(v)


@register_forward(
    cite="Huang & Van Gool, A Riemannian network for SPD matrix learning, AAAI 2017",
    products=lambda: 12.0,
    yields=(),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    takes_logarithm=_logarithm,
)
def log_eigh_autodiff(a: Array) -> Root:
    """The same logarithm, its gradient recorded through torch's `eigh`, as layers often write it.

    a: (..., n, n). That gradient divides by w_i - w_j, and is NaN where two eigenvalues coincide.
    It pairs with `autodiff`; its rows are those of the function `log`.
    """
    del a
    raise Unsupported("log_eigh_autodiff computes no root: its rows are those of the function log")
