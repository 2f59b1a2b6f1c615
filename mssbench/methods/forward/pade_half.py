"""Square root by the diagonal Padé approximant, for half precision."""

from mssbench.arrays import Array, like, solve, widened
from mssbench.methods import norms
from mssbench.methods.forward.pade import fraction
from mssbench.methods.method import NUMPY_IN_DOUBLE, Root, Wanted
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Xie et al., So-ViT, arXiv 2104.10935; Song, Sebe & Wang, Fast Differentiable Matrix "
    "Square Root, ICLR 2022 (MPA)",
    # Powers of R, and one LU solve.
    products=lambda degree, norm: max(degree - 1, 0) + 4 / 3 + norms.products(norm),
    at_singular="its root is not zero in null directions, where the gradient then is wrong",
    computes=NUMPY_IN_DOUBLE,
)
def pade_half(a: Array, wanted: Wanted, *, degree: int = 5, norm: Norm = "frobenius") -> Root:
    """Padé approximant with its products in half precision and its solve in float32.

    P, Q of R = I - A / c, as in `pade`, in the precision of A;
    A^{1/2} ≈ √c Q^{-1} P,  A^{-1/2} ≈ P^{-1} Q / √c in float32, rounded once at the end.

    a: (..., n, n), bfloat16 or float16, in which no library has a solve. In any other precision it
    equals `pade`. degree = m. At R = I, Q is 4^{-m}, a sum of terms as large as 1.3^m, so that with
    a high degree cancellation costs more accuracy than the degree gains. c: the upper bound of A's
    eigenvalues that `norm` names.
    """
    x, root_c = normalized(a, norm)
    p, q = (widened(polynomial) for polynomial in fraction(x, degree))
    return Root(
        sqrt=like(solve(q, p) * root_c, a) if "sqrt" in wanted else None,
        isqrt=like(solve(p, q) / root_c, a) if "isqrt" in wanted else None,
    )
