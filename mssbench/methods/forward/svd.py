"""Square root by singular value decomposition."""

from typing import Literal

from mssbench.arrays import Array, library, namespace, transpose
from mssbench.errors import Unsupported
from mssbench.methods import decomposition
from mssbench.methods.method import LAPACK_PRECISIONS, NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Ionescu, Vantzos & Sminchisescu, Matrix Backpropagation, ICCV 2015; "
    "Song, Sebe & Wang, Why Approximate Matrix Square Root Outperforms Accurate SVD, ICCV 2021",
    products=lambda **_: 20.0,
    yields=("sqrt", "isqrt", "eigen"),
    cuts_null=True,
    precisions=LAPACK_PRECISIONS,
    computes=NUMPY_IN_DOUBLE,
)
def svd(
    a: Array,
    wanted: Wanted,
    *,
    driver: Literal["default", "gesvd", "gesvdj", "gesvda"] = "default",
) -> Root:
    """Singular value decomposition: A = U diag(s) Vᵀ with U = V for positive semidefinite A.

    A^{±1/2} = U diag(s^{±1/2}) Uᵀ.

    a: (..., n, n). For an indefinite A the result is the root of |A|, because singular values have
    no sign. If the inverse root is not wanted, singular values up to 4 ε times the largest one
    count as 0, since they are rounding errors of zeros. driver: a cuSOLVER routine, for torch on
    cuda only.
    """
    if driver != "default" and not (library(a) == "torch" and a.is_cuda):
        raise Unsupported(f"driver {driver!r} is a cuSOLVER routine: torch on cuda only")

    xp = namespace(a)
    # Scaled, because torch's derivative of the SVD squares s, which overflows float32 at 1e26.
    p = power_of_four(a)
    u, s, _ = decomposition.svd(a / p, None if driver == "default" else driver)
    s = s * p[..., 0]
    s = s if "isqrt" in wanted else decomposition.without_null(s, s[..., :1])

    d = xp.sqrt(s)[..., None, :]  # (..., 1, n)
    ut = transpose(u)
    return Root(
        sqrt=(u * d) @ ut if "sqrt" in wanted else None,
        isqrt=(u / d) @ ut if "isqrt" in wanted else None,
        eigen=(s, u),
    )
