"""Square root by SPD Learn."""

from mssbench.arrays import Array
from mssbench.methods.method import LAPACK_PRECISIONS, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="SPD Learn developers, spd_learn, github.com/spdlearn/spd_learn, 2025; tested: 0.2.1",
    products=lambda: 13.0,  # eigh and two products, one of them with a diagonal matrix
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    package="spd_learn.functional",
)
def spd_learn(a: Array, wanted: Wanted) -> Root:
    """SPD Learn's `matrix_sqrt`, `matrix_inv_sqrt`: eigh, gradient by divided differences.

    a: (..., n, n). Known: eigenvalues are clamped from below at an absolute 100 eps of the dtype
    (1000 for the inverse), and clamped ones have no gradient. A matrix of condition 1e6 in float32,
    or one with small entries and any condition, has a wrong root and a wrong gradient.
    """
    from spd_learn.functional import matrix_inv_sqrt, matrix_sqrt

    return Root(
        sqrt=matrix_sqrt.apply(a) if "sqrt" in wanted else None,
        isqrt=matrix_inv_sqrt.apply(a) if "isqrt" in wanted else None,
    )
