"""Parts of a batch side by side on the cores of a CPU.

LAPACK takes the matrices of a batch one after another and gains little from more threads on a small
one. Here each thread takes a part of the batch, with one thread of its own for a BLAS that uses
OpenMP, as torch's does.
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
    """How many may share the batch of `a`, a torch tensor: 1 where it is not to be shared.

    a: (..., n, n). Autograd in either mode, transforms of torch.func, and whoever counts operations
    would not see what another thread does.
    Raises Unsupported on another device than a CPU.
    """
    from torch.utils._python_dispatch import _get_current_dispatch_mode  # torch is there: a is its

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
    """Write work(*given) to `out`, part by part of their first dimension.

    given, out: torch tensors of equal length. `work` gets as many parts as there are `given`, and
    returns as many as there are `out`.
    """
    torch = namespace(out[0])
    count = torch.get_num_threads()
    lengths = [len(part) for part in out[0].chunk(count)]

    # Each thread writes its part of the whole. To join them here would wake the threads that torch
    # keeps for such work, and those spin on for milliseconds on the cores that ours need next.
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
    """One thread for the BLAS of this thread, and no word to the others.

    Not by torch.set_num_threads: that also tells MKL, for the whole process, to take all threads
    however small the matrix, and then a plain `eigh` takes up to ten times as long.
    """
    import_module("torch").get_num_threads()  # sets OpenMP up for this thread, which is undone here
    ThreadpoolController().select(user_api="openmp").limit(limits=1)


# A child of a fork has none of these threads, but would wait for them. Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
