"""Square root by symmetric eigendecompositions, in parallel on the cores of a CPU."""

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
    """Eigendecomposition with one thread per part of the batch; `eigh` takes one matrix at a time.

    A = V diag(w) Vᵀ, A^{±1/2} = V diag(w^{±1/2}) Vᵀ. Each part of the batch runs on a separate core
    with one BLAS thread, since LAPACK gains little from several threads on a small matrix.

    a: (..., n, n), on a CPU. It uses as many threads as torch does, and calls `eigh` if autograd
    records. Directly after other work on all cores it gains less, because torch's threads for that
    work go on spinning for milliseconds.
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
    wanted_roots = {name: x.reshape(a.shape) for name, x in zip(names, roots, strict=True)}
    return Root(**wanted_roots, eigen=(w.reshape(a.shape[:-1]), v.reshape(a.shape)))
