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
    "_linalg_solve_ex": 4 / 3,  # 1/3 of it for the factors
    "linalg_lu_factor_ex": 1 / 3,
    "linalg_lu_solve": 1.0,  # this and the next of a right-hand side of n columns
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

    products: float | None  # in products of the batch's matrices
    certain: float | None  # of these, in the batch's own precision: others may be faster
    operators: int | None
    launches: int | None  # kernels on a GPU
    flops: float | None  # with an estimate for what is iterative


class Blind:
    """Sees nothing: only torch can be watched."""

    def counts(self) -> Counts:
        """Nothing is known."""
        return Counts(None, None, None, None, None)


class Watch(TorchDispatchMode):
    """Adds up what torch is asked to do in this thread, inside the block.

    like: (b, n, n), the batch; a product of k matrices of its size counts k / b.
    """

    def __init__(self, like: Array) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = self.certain = self.estimated = 0.0
        self.operators = 0
        self._batch, self._n, self._dtype = prod(like.shape[:-2]), like.shape[-1], like.dtype

    def counts(self) -> Counts:
        """So far. Kernels are a profiler's to see, see `launches`."""
        flops = (self.products + self.estimated) * 2.0 * self._n**3 * self._batch
        return Counts(self.products, self.certain, self.operators, None, float(flops))

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
            share, dtype = self._share(name, args, out)
            self.products += factor * share
            self.estimated += estimate * share
            self.certain += factor * share if dtype == self._dtype else 0.0
        return out

    def _share(self, name: str, args: tuple[Any, ...], out: Any) -> tuple[float, Any]:
        """The work, in work of the same kind on the whole batch; and the precision it is done in.

        That kind is a product, or a solve for as many columns as the matrices have.
        """
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        if name in ("baddbmm", "addmm"):
            tensors = tensors[1:]
        a = tensors[0]
        n = a.shape[-1]
        if name in ("bmm", "baddbmm", "mm", "addmm"):
            columns = float(tensors[1].shape[-1])
        elif name in ("linalg_lu_solve", "linalg_solve_triangular"):
            columns = float(out.shape[-1])
        elif name == "_linalg_solve_ex":
            result = out[0]
            k = 1 if result.ndim < a.ndim else result.shape[-1]
            columns = (n / 3 + k) * 3 / 4  # of 4/3, a third is the factors' whatever k is
        else:
            columns = float(n)
        whole = self._batch * self._n**3
        return (prod(a.shape) * columns / whole if whole else 0.0), a.dtype


def launches(call: Callable[[Any], object], prepared: Any) -> int | None:
    """Kernels that one call starts on a GPU. None where this torch's profiler cannot say."""
    from torch.autograd.profiler import profile

    with profile(use_device="cuda", use_kineto=True) as profiler:
        call(prepared)
        torch.cuda.synchronize()
    results = getattr(profiler, "kineto_results", None)
    if results is None:
        return None
    on_gpu = [e for e in results.events() if "CUDA" in str(e.device_type())]
    return sum(not e.name().startswith("Mem") for e in on_gpu)  # copies and fills are no kernels
