"""Gradient in the eigenbasis, in parallel on the cores of a CPU."""

from mssbench.arrays import Array, namespace, symmetrize
from mssbench.methods import parallel
from mssbench.methods.backward.loewner import loewner
from mssbench.methods.method import LAPACK_PRECISIONS, Function, Root
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Higham, Functions of Matrices, SIAM 2008, Theorem 3.11; one thread per part of the batch",
    products=lambda: 4.0,
    reads=("eigen",),
    only=True,
    symmetrizes=True,  # otherwise torch's threads would do it first, and then spin beside ours
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
    solves=True,
)
def loewner_parallel(root: Root, function: Function, g: Array) -> Array:
    """`loewner` with one thread per part of the batch, the counterpart of `eigh_parallel`.

    S = V (L ∘ (Vᵀ sym(G) V)) Vᵀ with the divided differences L of the root, see `loewner`, and the
    symmetric part sym(G).

    g: (..., n, n), any cotangent, on a CPU.
    Raises Unsupported on another device.
    """
    assert root.eigen is not None
    w, v = root.eigen

    def work(w: Array, v: Array, g: Array) -> list[Array]:
        return [loewner(Root(eigen=(w, v)), function, symmetrize(g))]

    if parallel.threads(g) < 2:
        return work(w, v, g)[0]
    n = g.shape[-1]
    flat = [w.reshape(-1, n), v.reshape(-1, n, n), g.reshape(-1, n, n)]
    s = namespace(g).empty(flat[1].shape, dtype=g.dtype)
    parallel.share(work, flat, [s])
    return s.reshape(g.shape)
