"""Square root by the truncated Taylor series (MTP), by the Paterson–Stockmeyer scheme."""

from collections.abc import Sequence

from mssbench.arrays import Array, eye_like, plus
from mssbench.methods import norms
from mssbench.methods.forward.taylor import coefficients
from mssbench.methods.method import Root
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward


def block(degree: int) -> int:
    """Return the block length s with the fewest products, the smallest if several have it.

    A smaller s keeps fewer powers in memory.
    """
    return min(range(1, degree + 2), key=lambda s: _products(degree, s))


def _products(degree: int, s: int) -> int:
    """Count the products for blocks of s terms: powers up to R^s, then Horner's rule in R^s."""
    # The number of blocks before the last one, and the terms of the last one after its first.
    blocks, in_last = divmod(degree, s)
    horner = blocks - (blocks > 0 and in_last == 0)
    powers = max(min(s, degree) - 1, 0) if blocks else max(degree - 1, 0)
    return powers + horner


def products(degree: int) -> float:
    """Return the number of products that a polynomial of this degree takes: 5 for degree 10."""
    return float(max(_products(degree, block(degree)), 1))


@register_forward(
    cite="Song, Sebe & Wang, Fast Differentiable Matrix Square Root, ICLR 2022 (MTP); Paterson & "
    "Stockmeyer, SIAM J. Comput. 2 (1973); Higham, Functions of Matrices, SIAM 2008, §4.2",
    products=lambda degree, norm: products(degree) + norms.products(norm),
    yields=("sqrt",),
    at_singular="its root is not zero in null directions, where the gradient then is wrong",
)
def taylor_paterson_stockmeyer(a: Array, *, degree: int = 10, norm: Norm = "frobenius") -> Root:
    """The polynomial of `taylor` by Paterson–Stockmeyer: 5 products for degree 10 instead of 9.

    A^{1/2} ≈ √c Σ_j B_j(R) (R^s)^j,  B_j(R) = Σ_{i<s} t_{sj+i} R^i,  R = I - A / c, s ≈ √K.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names; t_i: as in `taylor`.
    degree = K. The powers of R up to R^s take s - 1 products. Horner's rule in R^s takes one
    product for each further block B_j, but none for a last block that consists of a single number.
    s is chosen for the fewest products. The result is that of `taylor` up to rounding; s powers of
    R are held in memory.
    """
    x, root_c = normalized(a, norm)
    eye = eye_like(a)
    t = coefficients(degree)
    s = block(degree)

    powers = [eye, eye - x]  # I, R, ..., R^s
    while len(powers) <= min(s, degree):
        powers.append(powers[-1] @ powers[1])

    blocks = [t[i : i + s] for i in range(0, len(t), s)]
    # A last block of one number, times R^s, becomes one more term of the block before it.
    if len(blocks) > 1 and len(blocks[-1]) == 1:
        blocks[-2:] = [blocks[-2] + blocks[-1]]
    y = _combined(blocks.pop(), powers)
    for coefficients_of_block in reversed(blocks):
        y = y @ powers[s] + _combined(coefficients_of_block, powers)
    return Root(sqrt=y * root_c)


def _combined(t: Sequence[float], powers: Sequence[Array]) -> Array:
    """Return Σ t_i R^i, (..., n, n)."""
    y = t[0] * powers[0]
    for coefficient, power in zip(t[1:], powers[1:], strict=False):
        y = plus(y, coefficient, power)
    return y
