"""The matrix logarithm by an eigendecomposition, with its exact gradient."""

from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


def _logarithm(a: Array) -> Array:
    # imported when it is called: a list of methods needs no torch
    from mssbench.methods.logarithm import logarithm

    return logarithm(a)


@register_forward(
    cite="Arsigny et al., Magnetic Resonance in Medicine 56 (2006); Daleckii & Krein (1965)",
    products=lambda: 12.0,  # of eigh, whose product and decomposition are the same
    yields=(),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    takes_logarithm=_logarithm,
)
def log_eigh(a: Array) -> Root:
    """Logarithm: log A = V diag(log w) Vᵀ, with a gradient that is exact at ties.

    a: (..., n, n). Its rows are those of the function `log`. It has a gradient of its own and pairs
    with `autodiff`, which finds it. In a program it is called as `mssbench.logm(a)`.
    """
    del a
    raise Unsupported("log_eigh computes no root: its rows are those of the function log")
