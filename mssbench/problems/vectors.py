"""The vector and the cotangent of A^{-1/2} b, from the cotangent that a problem has for a root."""

from mssbench.arrays import Array, diagonal, namespace, symmetrize, transpose


def vectors(g: Array) -> tuple[Array, Array]:
    """B and the cotangent of A^{-1/2} b, each (..., n, 1), from that of a root, (..., n, n).

    Row sums and diagonal: a permutation of g's rows and columns permutes both.
    """
    return namespace(g).sum(g, axis=-1)[..., None], diagonal(g)[..., None]


def cotangent(b: Array, h: Array) -> Array:
    """The cotangent of A^{-1/2}, (..., n, n), that h of A^{-1/2} b stands for: sym(h bᵀ)."""
    return symmetrize(h @ transpose(b))
