"""Square root by symmetric eigendecompositions side by side on the cores of a CPU."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from importlib import import_module
from threading import Barrier
from typing import Any

from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.forward.eigh import eigh
from mssbench.registry import LAPACK_PRECISIONS, Root, Wanted, register_forward


@register_forward(
    cite="LAPACK Users' Guide, SIAM 1999 (xSYEVD); a matrix is too small to share, a batch is not",
    products=lambda: 12.0,
    yields=("sqrt", "isqrt", "eigen"),
    libraries=("torch",),
    precisions=LAPACK_PRECISIONS,
)
def eigh_parallel(a: Array, wanted: Wanted) -> Root:
    """Eigendecomposition, one thread per part of the batch: `eigh` takes one matrix at a time.

    A = V diag(w) Vᵀ, A^{±1/2} = V diag(w^{±1/2}) Vᵀ, for each part of the batch on a core of its
    own, with one BLAS thread: LAPACK gains little from more on a small matrix.

    a: (..., n, n), on a CPU. Uses as many threads as torch does.
    Raises Unsupported on another device.
    """
    torch = namespace(a)
    if a.device.type != "cpu":
        raise Unsupported("eigh_parallel shares a batch among the cores of a CPU: use eigh on cuda")
    batch = a.reshape(-1, *a.shape[-2:])
    threads = min(torch.get_num_threads(), len(batch))
    if threads < 2:
        return eigh(a, wanted)
    # gradient and inference mode belong to a thread: the others must be told
    work = partial(_part, wanted, torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    parts = list(_pool(torch.get_num_threads()).map(work, batch.chunk(threads)))

    def joined(*arrays: Array) -> Array:
        whole = torch.cat(arrays)
        return whole.reshape(*a.shape[:-2], *whole.shape[1:])

    w, v = (joined(*(p.eigen[i] for p in parts)) for i in (0, 1))
    return Root(
        sqrt=joined(*(p.sqrt for p in parts)) if "sqrt" in wanted else None,
        isqrt=joined(*(p.isqrt for p in parts)) if "isqrt" in wanted else None,
        eigen=(w, v),
    )


def _part(wanted: Wanted, records: bool, inference: bool, a: Array) -> Any:
    torch = namespace(a)
    with torch.inference_mode(inference), torch.set_grad_enabled(records):
        return eigh(a, wanted)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose BLAS has one thread each.

    torch keeps the number per thread, but takes the last one set for threads that come later: so
    ours are all started here, and the number is put back.
    """
    torch = import_module("torch")
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "eigh", torch.set_num_threads, (1,))
    barrier = Barrier(threads)
    list(pool.map(lambda _: barrier.wait(), range(threads)))
    torch.set_num_threads(before)
    return pool
