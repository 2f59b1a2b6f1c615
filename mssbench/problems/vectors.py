"""The vectors b of the function A^{-1/2} b and its cotangents, derived from those of a root."""

from mssbench.arrays import Array, diagonal, namespace, symmetrize, transpose


def vectors(g: Array) -> tuple[Array, Array]:
    """Return b and the cotangent of A^{-1/2} b, (..., n, 1) each, from that of a root, (..., n, n).

    They are the row sums and the diagonal of g, so that a permutation of the rows and columns of g
    permutes both.
    """
    return namespace(g).sum(g, axis=-1)[..., None], diagonal(g)[..., None]


def cotangent(b: Array, h: Array) -> Array:
    """Return the cotangent of A^{-1/2}, (..., n, n), from the cotangent h of A^{-1/2} b.

    It is the symmetric part of h bᵀ.
    """
    return symmetrize(h @ transpose(b))
