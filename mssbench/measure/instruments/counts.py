"""What one call does, counted in the running code: products, operations, kernels. No noise."""

import ctypes
from collections.abc import Callable
from math import prod
from threading import get_ident
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from mssbench.arrays import Array, dtype_name
from mssbench.measure.instruments.clocks import capture
from mssbench.methods.kernels.effort import Effort, listeners
from mssbench.methods.method import Method

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
_FREE = frozenset(
    {
        "_unsafe_view",
        "alias",
        "as_strided",
        "detach",
        "diagonal",
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "lift_fresh",
        "permute",
        "reshape",
        "select",
        "slice",
        "split",
        "squeeze",
        "t",
        "transpose",
        "unsqueeze",
        "view",
    }
)


class Counts(NamedTuple):
    """The work of one call. None where nothing can see it."""

    products: float | None  # in products of the batch's matrices
    certain: float | None  # of these, in the batch's own precision: others may be faster
    rounded: float | None  # of these, of operands that tensor cores round: they are faster
    operators: int | None
    launches: int | None  # kernels on a GPU
    flops: float | None  # with an estimate for what is iterative


class _Sum:
    """The work so far, in work on a whole batch. like: (..., n, n), that batch."""

    def __init__(self, like: Array) -> None:
        self.products = self.certain = self.rounded = self.estimated = 0.0
        self.operators = 0
        self.batch, self.n, self.dtype = prod(like.shape[:-2]), like.shape[-1], dtype_name(like)
        self.thread = get_ident()

    def add(
        self, products: float, estimated: float, share: float, *, dtype: str, rounded: bool = False
    ) -> None:
        """share: of the batch, see `part`. rounded: to fewer digits than those of `dtype`."""
        self.products += products * share
        self.estimated += estimated * share
        if rounded:
            self.rounded += products * share
        elif dtype == self.dtype:
            self.certain += products * share

    def part(self, numbers: int, columns: float) -> float:
        """The share of the batch that is numbers x columns large: b n² x n is all of it."""
        whole = self.batch * self.n**3
        return numbers * columns / whole if whole else 0.0

    def add_launch(self, effort: Effort) -> None:
        """One operator."""
        self.operators += 1
        share = self.part(effort.matrices * effort.n**2, effort.n)
        self.add(
            effort.products, effort.estimated, share, dtype=effort.dtype, rounded=effort.rounded
        )

    def counts(self) -> Counts:
        """Kernels are those of the call's CUDA graph, see `launches`."""
        flops = (self.products + self.estimated) * 2.0 * self.n**3 * self.batch
        seen = self.products, self.certain, self.rounded, self.operators
        return Counts(*seen, None, float(flops))


class Blind:
    """Sees kernels of ours that this thread launches inside the block, and nothing else.

    For libraries without a dispatcher that could be asked. like: (b, n, n), the batch.
    """

    def __init__(self, like: Array) -> None:
        self._sum = _Sum(like)

    def __enter__(self) -> "Blind":
        listeners.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        listeners.remove(self)

    def launched(self, effort: Effort) -> None:
        """See effort.Listener."""
        if get_ident() == self._sum.thread:
            self._sum.add_launch(effort)

    def counts(self, *methods: Method) -> Counts:
        """So far, when these have been called.

        Known only where kernels are all their work: where they declare as many launches as were
        seen.
        """
        due = [0 if _symmetrized(m) else m.launches for m in methods]
        if not all(due) or sum(due) != self._sum.operators:
            return Counts(None, None, None, None, None, None)
        return self._sum.counts()


def _symmetrized(method: Method) -> bool:
    """Whether it is handed a symmetric part that the library takes before it."""
    return method.kind == "backward" and not method.symmetrizes


class Watch(TorchDispatchMode):
    """Adds up what torch is asked to do inside the block, and what kernels of ours do.

    By this thread, and by autograd's for it. like: (b, n, n), the batch; a product of k matrices of
    its size counts k / b.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Let torch leave `__torch_dispatch__` as it is.

        It would hide the function from its compiler, and import that before the first call: for
        over a second, in a process that compiles nothing.
        """
        return False

    def __init__(self, like: Array) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sum = _Sum(like)

    def __enter__(self) -> "Watch":
        super().__enter__()  # type: ignore[no-untyped-call]
        listeners.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        listeners.remove(self)
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def launched(self, effort: Effort) -> None:
        """See effort.Listener."""
        # a backward on a GPU runs in a thread of autograd's, which takes the modes of ours along
        if get_ident() == self._sum.thread or self in _get_current_dispatch_mode_stack():
            self._sum.add_launch(effort)

    def counts(self, *_: Method) -> Counts:
        """So far, whatever was called."""
        return self._sum.counts()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        out = func(*args, **(kwargs or {}))
        if name in _FREE:
            return out
        self._sum.operators += 1
        factor, estimate = _PRODUCTS.get(name, 0.0), _ESTIMATED.get(name, 0.0)
        if factor or estimate:
            share, dtype = self._share(name, args, out)
            self._sum.add(factor, estimate, share, dtype=dtype)
        return out

    def _share(self, name: str, args: tuple[Any, ...], out: Any) -> tuple[float, str]:
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
        return self._sum.part(prod(a.shape), columns), dtype_name(a)


def launches(call: Callable[[Any], object], prepared: Any) -> int | None:
    """The number of kernels that `call(prepared)` starts on a GPU: those of its CUDA graph.

    No profiler is asked: CUPTI stays attached to a process that has once used it, and makes every
    later launch slower, which would favour methods of few launches. None where the number depends
    on the data, or where the driver does not say. Raises CaptureFailed where the call cannot be
    captured, for instance because it waits for the device; the process should then be left soon.
    """
    graph = torch.cuda.CUDAGraph(keep_graph=True)  # torch would else destroy what is counted here
    output = capture(torch.cuda, graph, call, prepared)
    count = kernel_nodes(graph.raw_cuda_graph(), ctypes.CDLL("libcuda.so.1"))
    del output  # it lies in memory of the graph, which goes next
    return count


# CUgraphNodeType of cuda.h. A conditional node runs its body as often as the data asks for.
_KERNEL_NODE, _CHILD_NODE, _CONDITIONAL_NODE = 0, 4, 13


def kernel_nodes(graph: int, driver: Any) -> int | None:
    """The number of kernels in a CUDA graph, with those of the graphs inside it.

    graph: its handle, a CUgraph or cudaGraph_t, which are the same. driver: libcuda. Copies and
    fills by the copy engines are nodes of other types and are not counted. None where a node is
    conditional, or where the driver answers with an error.
    """
    nodes, total = _nodes(graph, driver), 0
    if nodes is None:
        return None
    for node in nodes:
        kind = ctypes.c_int()
        if driver.cuGraphNodeGetType(node, ctypes.byref(kind)) or kind.value == _CONDITIONAL_NODE:
            return None
        inside: int | None = int(kind.value == _KERNEL_NODE)
        if kind.value == _CHILD_NODE:
            child = ctypes.c_void_p()
            if driver.cuGraphChildGraphNodeGetGraph(node, ctypes.byref(child)):
                return None
            inside = kernel_nodes(child.value or 0, driver)
        if inside is None:
            return None
        total += inside
    return total


def _nodes(graph: int, driver: Any) -> list[ctypes.c_void_p] | None:
    """The nodes of a graph. None where the driver answers with an error."""
    handle, count = ctypes.c_void_p(graph), ctypes.c_size_t()
    if driver.cuGraphGetNodes(handle, None, ctypes.byref(count)):
        return None
    nodes = (ctypes.c_void_p * count.value)()
    if driver.cuGraphGetNodes(handle, nodes, ctypes.byref(count)):
        return None
    return [ctypes.c_void_p(node) for node in nodes]
