"""Square root by symmetric eigendecompositions side by side on the cores of a CPU."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from importlib import import_module
from typing import Any

from threadpoolctl import ThreadpoolController

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

    a: (..., n, n), on a CPU. Uses as many threads as torch does. Behind other work it gains little:
    the threads that torch has for that work spin on for milliseconds. Where autograd records, it
    is `eigh`.
    Raises Unsupported on another device.
    """
    torch = namespace(a)
    if a.device.type != "cpu":
        raise Unsupported("eigh_parallel shares a batch among the cores of a CPU: use eigh on cuda")
    batch = a.reshape(-1, *a.shape[-2:])
    threads = torch.get_num_threads()
    parts = batch.detach().chunk(min(threads, len(batch)))
    if len(parts) < 2 or (torch.is_grad_enabled() and a.requires_grad):
        return eigh(a, wanted)
    # Each thread writes its part of the whole. To join them here would wake the threads that torch
    # keeps for such work, and those spin on for milliseconds on the cores that ours need next.
    names = [name for name in ("sqrt", "isqrt") if name in wanted]
    whole = [torch.empty_like(batch) for _ in ("v", *names)]
    w = torch.empty_like(batch[..., 0])
    places = [torch.split(x, [len(part) for part in parts]) for x in (w, *whole)]
    list(_pool(threads).map(partial(_write, names), parts, *places))
    v, *roots = (x.reshape(a.shape) for x in whole)
    return Root(**dict(zip(names, roots, strict=True)), eigen=(w.reshape(a.shape[:-1]), v))


def _write(names: Sequence[str], a: Array, w: Array, v: Array, *roots: Array) -> None:
    with namespace(a).inference_mode():
        found = eigh(a, frozenset(names))
        for place, part in zip((w, v, *roots), _fields(found, names), strict=True):
            place.copy_(part)


def _fields(root: Root, names: Sequence[str]) -> list[Any]:
    assert root.eigen is not None
    return [*root.eigen, *(getattr(root, name) for name in names)]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "eigh", _alone)


def _alone() -> None:
    """One thread for the BLAS of this thread, and no word to the others.

    Not by torch.set_num_threads: that also tells MKL, for the whole process, to take all threads
    however small the matrix, and then a plain `eigh` takes up to ten times as long.
    """
    import_module("torch").get_num_threads()  # sets OpenMP up for this thread, which is undone here
    ThreadpoolController().select(user_api="openmp").limit(limits=1)
