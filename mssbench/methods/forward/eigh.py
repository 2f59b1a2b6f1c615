"""Square root by symmetric eigendecomposition."""

from mssbench.arrays import Array, namespace, transpose
from mssbench.methods import decomposition
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Higham, Functions of Matrices, SIAM 2008, §1.2; Li et al., MPN-COV, ICCV 2017",
    products=lambda: 12.0,  # ~9–25 n³ for the decomposition, 2 n³ for the product
    yields=("sqrt", "isqrt", "eigen"),
    cuts_null=True,
    precisions=LAPACK_PRECISIONS,
    computes=NUMPY_IN_DOUBLE,
)
def eigh(a: Array, wanted: Wanted) -> Root:
    """Eigendecomposition: A = V diag(w) Vᵀ gives A^{±1/2} = V diag(w^{±1/2}) Vᵀ.

    a: (..., n, n); only the lower triangle is read. Negative eigenvalues are replaced by 0. If the
    inverse root is not wanted, so are those up to 4 ε times the largest one, which are rounding
    errors of zeros. It yields the eigenpairs, so that a spectral backward needs no second
    decomposition. A matrix on which float32 fails to converge is decomposed in float64.
    """
    xp = namespace(a)
    w, v = decomposition.eigh(a)
    w = w.clip(0) if "isqrt" in wanted else decomposition.without_null(w, w[..., -1:])

    d = xp.sqrt(w)[..., None, :]  # (..., 1, n)
    vt = transpose(v)
    return Root(
        sqrt=(v * d) @ vt if "sqrt" in wanted else None,
        isqrt=(v / d) @ vt if "isqrt" in wanted else None,
        eigen=(w, v),
    )
