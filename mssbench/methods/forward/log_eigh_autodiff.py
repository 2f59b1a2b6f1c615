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
    """Logarithm with the gradient of `torch.linalg.eigh`: log A = V diag(log w) Vᵀ.

    a: (..., n, n). Layers often compute the logarithm in this way. The gradient divides by
    w_i - w_j, and is NaN if two eigenvalues are equal. It is measured for the function `log`, and
    pairs with `autodiff`.
    """
    del a
    raise Unsupported("log_eigh_autodiff computes no root: measure it with function = log")
