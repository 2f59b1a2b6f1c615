"""Square root by pyRiemann."""

from mssbench.arrays import Array
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Barachant et al., pyRiemann, doi:10.5281/zenodo.593816; tested: 0.12",
    products=lambda: 12.0,  # eigh and one product
    libraries=("torch", "numpy"),
    precisions=LAPACK_PRECISIONS,
    package="pyriemann.geometry.base",
    computes=NUMPY_IN_DOUBLE,
)
def pyriemann(a: Array, wanted: Wanted) -> Root:
    """PyRiemann's `sqrtm`, `invsqrtm`: V diag(w^{±1/2}) Vᵀ, in array functions alone.

    a: (..., n, n). Known: autograd divides by w_i - w_j, so the gradient is NaN at equal
    eigenvalues; its check for finite input makes the host wait for the device; negative eigenvalues
    are not clamped.
    """
    from pyriemann.geometry.base import invsqrtm, sqrtm

    return Root(
        sqrt=sqrtm(a) if "sqrt" in wanted else None,
        isqrt=invsqrtm(a) if "isqrt" in wanted else None,
    )
