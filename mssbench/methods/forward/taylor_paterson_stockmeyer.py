"""Square root by the truncated Taylor series (MTP), in the fewest products."""

from collections.abc import Sequence

from mssbench.arrays import Array, eye_like, plus
from mssbench.methods import norms
from mssbench.methods.forward.taylor import coefficients
from mssbench.methods.method import Root
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward


def block(degree: int) -> int:
    """The s of fewest products; of several such the smallest, which keeps the fewest powers."""
    return min(range(1, degree + 2), key=lambda s: _products(degree, s))


def _products(degree: int, s: int) -> int:
    """Products of a polynomial in blocks of s terms: powers up to R^s, then Horner's rule in it."""
    blocks, in_last = divmod(
        degree, s
    )  # blocks before the last one; terms of that beside the first
    horner = blocks - (blocks > 0 and in_last == 0)
    powers = max(min(s, degree) - 1, 0) if blocks else max(degree - 1, 0)
    return powers + horner


def products(degree: int) -> float:
    """Batched products of a polynomial of that degree: 5 for degree 10."""
    return float(max(_products(degree, block(degree)), 1))


@register_forward(
    cite="Song, Sebe & Wang, Fast Differentiable Matrix Square Root, ICLR 2022 (MTP); Paterson & "
    "Stockmeyer, SIAM J. Comput. 2 (1973); Higham, Functions of Matrices, SIAM 2008, §4.2",
    products=lambda degree, norm: products(degree) + norms.products(norm),
    yields=("sqrt",),
    at_singular="its root is not zero in null directions, where the gradient then is wrong",
)
def taylor_paterson_stockmeyer(a: Array, *, degree: int = 10, norm: Norm = "frobenius") -> Root:
    """The polynomial of `taylor` by powers of a power: 5 products for degree 10 instead of 9.

    A^{1/2} ≈ √c Σ_j B_j(R) (R^s)^j,  B_j(R) = Σ_{i<s} t_{sj+i} R^i,  R = I - A / c, s ≈ √K.

    a: (..., n, n). Powers of R up to R^s take s - 1 products, Horner's rule in R^s one for each
    further block B_j but a last one that is a number, which takes none. s is the one of fewest
    products. The result is that of `taylor` but for rounding; s powers of R are kept at a time.
    """
    x, root_c = normalized(a, norm)
    eye = eye_like(a)
    t = coefficients(degree)
    s = block(degree)

    powers = [eye, eye - x]  # I, R, ..., R^s
    while len(powers) <= min(s, degree):
        powers.append(powers[-1] @ powers[1])

    blocks = [t[i : i + s] for i in range(0, len(t), s)]
    if len(blocks) > 1 and len(blocks[-1]) == 1:  # a number times R^s: one more term of the block
        blocks[-2:] = [blocks[-2] + blocks[-1]]
    y = _combined(blocks.pop(), powers)
    for coefficients_of_block in reversed(blocks):
        y = y @ powers[s] + _combined(coefficients_of_block, powers)
    return Root(sqrt=y * root_c)


def _combined(t: Sequence[float], powers: Sequence[Array]) -> Array:
    """Σ t_i R^i, (..., n, n)."""
    y = t[0] * powers[0]
    for coefficient, power in zip(t[1:], powers[1:], strict=False):
        y = plus(y, coefficient, power)
    return y
