"""Square root by geoopt."""

from mssbench.arrays import Array
from mssbench.methods.method import LAPACK_PRECISIONS, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Kochurov, Karimov & Kozlukov, Geoopt: Riemannian Optimization in PyTorch, "
    "arXiv 2005.02819, 2020; tested: 0.5.1",
    products=lambda: 13.0,  # eigh and two products, one of them with a diagonal matrix
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    package="geoopt.linalg",
)
def geoopt(a: Array, wanted: Wanted) -> Root:
    """Geoopt's `sym_sqrtm`, `sym_inv_sqrtm1`: V diag(w^{±1/2}) Vᵀ in TorchScript.

    a: (..., n, n); only the upper triangle is read. Known: autograd divides by w_i - w_j, so the
    gradient is NaN at equal eigenvalues; negative eigenvalues are not clamped.
    """
    from geoopt.linalg import sym_inv_sqrtm1, sym_sqrtm

    return Root(
        sqrt=sym_sqrtm(a) if "sqrt" in wanted else None,
        isqrt=sym_inv_sqrtm1(a) if "isqrt" in wanted else None,
    )
