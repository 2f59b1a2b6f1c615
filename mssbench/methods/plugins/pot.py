"""Square root by POT, Python Optimal Transport."""

from functools import cache
from typing import Any

from mssbench.arrays import Array
from mssbench.methods.method import LAPACK_PRECISIONS, Root
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Flamary et al., POT: Python Optimal Transport, JMLR 22(78), 2021; tested: 0.9.7",
    products=lambda: 12.0,  # eigh and one product
    yields=("sqrt",),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    package="ot.backend",
)
def pot(a: Array) -> Root:
    """POT's `TorchBackend.sqrtm`: eigh, gradient by 1 / (d_i + d_j) from the saved eigenpairs.

    a: (..., n, n). Known: importing it imports JAX, CuPy and TensorFlow if they are installed; for
    a singular matrix the components of the gradient that do not exist are 0.
    """
    return Root(sqrt=_backend().sqrtm(a))


@cache
def _backend() -> Any:
    from ot.backend import TorchBackend

    return TorchBackend()
