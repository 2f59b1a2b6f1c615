"""Square root by symmetric eigendecompositions side by side on the cores of a CPU."""

from mssbench.arrays import Array, namespace
from mssbench.methods import parallel
from mssbench.methods.forward.eigh import eigh
from mssbench.methods.method import LAPACK_PRECISIONS, Root, Wanted
from mssbench.methods.registry import register_forward


@register_forward(
    cite="LAPACK Users' Guide, SIAM 1999 (xSYEVD); a matrix is too small to share, a batch is not",
    products=lambda: 12.0,
    yields=("sqrt", "isqrt", "eigen"),
    cuts_null=True,
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
)
def eigh_parallel(a: Array, wanted: Wanted) -> Root:
    """Eigendecomposition, one thread per part of the batch: `eigh` takes one matrix at a time.

    A = V diag(w) Vᵀ, A^{±1/2} = V diag(w^{±1/2}) Vᵀ, for each part of the batch on a core of its
    own, with one BLAS thread: LAPACK gains little from more on a small matrix.

    a: (..., n, n), on a CPU. Uses as many threads as torch does, and is `eigh` where autograd
    records. Behind other work on all cores it gains less: the threads that torch has for that work
    spin on for milliseconds.
    Raises Unsupported on another device.
    """
    if parallel.threads(a) < 2:
        return eigh(a, wanted)
    names = [name for name in ("sqrt", "isqrt") if name in wanted]
    batch = a.detach().reshape(-1, *a.shape[-2:])
    empty = namespace(a).empty_like
    w, v, *roots = (empty(batch[..., 0]), empty(batch), *(empty(batch) for _ in names))

    def work(part: Array) -> list[Array]:
        root = eigh(part, frozenset(names))
        assert root.eigen is not None
        return [*root.eigen, *(getattr(root, name) for name in names)]

    parallel.share(work, [batch], [w, v, *roots])
    found = {name: x.reshape(a.shape) for name, x in zip(names, roots, strict=True)}
    return Root(**found, eigen=(w.reshape(a.shape[:-1]), v.reshape(a.shape)))
