"""Parallel work on the parts of a batch, one thread per core of the CPU.

LAPACK processes the matrices of a batch one after another, and gains little from several threads
on a small matrix. Here each thread works on a part of the batch, and a BLAS that uses OpenMP, as
torch's does, runs single-threaded within it.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from typing import Any

from threadpoolctl import ThreadpoolController

from mssbench.arrays import Array, is_mapped, namespace
from mssbench.errors import Unsupported


def threads(a: Array) -> int:
    """Return the number of threads that may share a batch a: (..., n, n), a torch tensor.

    It is 1 under autograd in either mode, transforms of torch.func, and dispatch modes, which
    counters of operations use: none of these sees operations in another thread.
    Raises Unsupported on a device other than a CPU.
    """
    # `a` is a torch tensor, so that torch has been imported already.
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    from mssbench.methods.differentiable import is_transformed

    torch = namespace(a)
    if a.device.type != "cpu":
        raise Unsupported(f"only the cores of a CPU share a batch, and this one is on {a.device}")
    recorded = torch.is_grad_enabled() and a.requires_grad
    if recorded or is_transformed() or is_mapped(a) or _get_current_dispatch_mode() is not None:
        return 1
    return min(torch.get_num_threads(), a.shape[:-2].numel())  # type: ignore[no-any-return]


def share(
    work: Callable[..., Sequence[Array]], given: Sequence[Array], out: Sequence[Array]
) -> None:
    """Write the tensors work(*given) into `out`, in parts along the first dimension, by threads.

    given, out: torch tensors of equal length. In each thread `work` takes one part of each tensor
    in `given`, and returns one part for each tensor in `out`.
    """
    torch = namespace(out[0])
    count = torch.get_num_threads()
    lengths = [len(part) for part in out[0].chunk(count)]

    # Each thread writes its part of the result. Joining the parts in the calling thread would wake
    # torch's own threads, which then spin for milliseconds on the cores that ours need next.
    def write(given: Sequence[Array], out: Sequence[Array]) -> None:
        with torch.inference_mode():
            for place, part in zip(out, work(*given), strict=True):
                place.copy_(part)

    def parts(whole: Sequence[Array]) -> list[tuple[Array, ...]]:
        return list(zip(*(x.split(lengths) for x in whole), strict=True))

    list(_pool(count).map(write, parts(given), parts(out)))


@lru_cache(maxsize=1)
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "cores", _alone)


def _alone() -> Any:
    """Make the BLAS of the current thread single-threaded, without affecting other threads.

    torch.set_num_threads does not serve: it also makes MKL use all threads, in the whole process
    and for small matrices too, and then a plain `eigh` takes up to ten times as long.
    """
    # This call sets up OpenMP for the thread. If that happened later, it would undo the limit.
    import_module("torch").get_num_threads()
    ThreadpoolController().select(user_api="openmp").limit(limits=1)


# The child of a fork inherits the pool without its threads, and would wait for them for ever.
# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
