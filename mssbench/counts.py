"""What one call does, counted in the running code: products, operations, kernels. No noise."""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mssbench.arrays import Array

# In products of two n x n matrices, 2 n³ flop: LAPACK's operation counts.
_PRODUCTS = {
    "bmm": 1.0,
    "baddbmm": 1.0,
    "mm": 1.0,
    "addmm": 1.0,
    "linalg_inv_ex": 4 / 3,
    "_linalg_solve_ex": 4 / 3,
    "linalg_lu_factor_ex": 1 / 3,
    "linalg_lu_solve": 1.0,
    "linalg_cholesky_ex": 1 / 6,
    "linalg_solve_triangular": 1 / 2,
    "linalg_qr": 4 / 3,
}
# Iterative: how much work they are depends on the matrix. About 9 n³ and 22 n³ flop.
_ESTIMATED = {"_linalg_eigh": 4.5, "_linalg_svd": 11.0, "linalg_eigvalsh": 2 / 3}
# Views and bookkeeping: no work for a device.
_FREE = frozenset({
    "_unsafe_view", "alias", "as_strided", "detach", "diagonal", "empty", "empty_like",
    "empty_strided", "expand", "lift_fresh", "permute", "reshape", "select", "slice", "split",
    "squeeze", "t", "transpose", "unsqueeze", "view",
})  # fmt: skip


class Counts(NamedTuple):
    """The work of one call. None where nothing can see it."""

    products: float | None  # certain: in products of the batch's matrices
    operators: int | None
    launches: int | None  # kernels on a GPU
    flops: float | None  # with an estimate for what is iterative


class Blind:
    """Sees nothing: only torch can be watched."""

    def counts(self) -> Counts:
        """Nothing is known."""
        return Counts(None, None, None, None)


class Watch(TorchDispatchMode):
    """Adds up what torch is asked to do in this thread, inside the block.

    like: (b, n, n), the batch; a product of k matrices of its size counts k / b.
    """

    def __init__(self, like: Array) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = self.estimated = 0.0
        self.operators = 0
        self._batch, self._n = prod(like.shape[:-2]), like.shape[-1]

    def counts(self) -> Counts:
        """So far. Kernels are a profiler's to see, see `launches`."""
        flops = (self.products + self.estimated) * 2.0 * self._n**3 * self._batch
        return Counts(self.products, self.operators, None, float(flops))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        out = func(*args, **(kwargs or {}))
        if name in _FREE:
            return out
        self.operators += 1
        factor, estimate = _PRODUCTS.get(name, 0.0), _ESTIMATED.get(name, 0.0)
        if factor or estimate:
            share = self._share(name, args, out)
            self.products += factor * share
            self.estimated += estimate * share
        return out

    def _share(self, name: str, args: tuple[Any, ...], out: Any) -> float:
        """The work, in work of the same kind on the whole batch."""
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        if name in ("baddbmm", "addmm"):
            tensors = tensors[1:]
        a = tensors[0]
        if name in ("bmm", "baddbmm", "mm", "addmm"):
            columns = tensors[1].shape[-1]
        elif name in ("_linalg_solve_ex", "linalg_lu_solve", "linalg_solve_triangular"):
            result = out[0] if isinstance(out, tuple) else out
            columns = max(a.shape[-1], result.shape[-1])
        else:
            columns = a.shape[-1]
        work = prod(a.shape) * columns
        whole = self._batch * self._n**3
        return work / whole if whole else 0.0


def launches(call: Callable[[Any], object], prepared: Any) -> int | None:
    """Kernels that one call starts on a GPU. None where this torch's profiler cannot say."""
    from torch.autograd.profiler import profile

    with profile(use_device="cuda") as profiler:
        call(prepared)
        torch.cuda.synchronize()
    results = getattr(profiler, "kineto_results", None)
    if results is None:
        return None
    on_gpu = [e for e in results.events() if "CUDA" in str(e.device_type())]
    return sum(not e.name().startswith("Mem") for e in on_gpu)  # copies and fills are no kernels
