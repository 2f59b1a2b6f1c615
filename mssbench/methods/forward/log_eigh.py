"""The matrix logarithm by an eigendecomposition, with its exact gradient."""

from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _logarithm(a: Array) -> Array:
    # Imported here, so that listing the methods does not import torch.
    from mssbench.methods.logarithm import logarithm

    return logarithm(a)


@register_forward(
    cite="Arsigny et al., Magnetic Resonance in Medicine 56 (2006); Daleckii & Krein (1965)",
    products=lambda: 12.0,  # as for `eigh`, which makes the same decomposition and product
    yields=(),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    takes_logarithm=_logarithm,
)
def log_eigh(a: Array) -> Root:
    """Logarithm with a gradient that is exact for equal eigenvalues: log A = V diag(log w) Vᵀ.

    a: (..., n, n). It is measured for the function `log`. It has its own gradient, which autograd
    uses, and therefore pairs with `autodiff`. Programs call it as `mssbench.logm(a)`.
    """
    del a
    raise Unsupported("log_eigh computes no root: measure it with function = log")
