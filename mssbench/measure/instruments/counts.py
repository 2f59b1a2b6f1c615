"""Count the work of one call while it runs: products, operations and kernels.

Unlike times, counts have no noise. Only the work of iterative operators is an estimate.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from math import prod
from threading import get_ident
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from mssbench.arrays import Array, dtype_name
from mssbench.measure.instruments.clocks import capture
from mssbench.methods.kernels.effort import Effort, listeners
from mssbench.methods.method import Method

# Work of an operator in products of two n x n matrices, which take 2 n³ flop, by LAPACK's operation
# counts.
_PRODUCTS = {
    "bmm": 1.0,
    "baddbmm": 1.0,
    "mm": 1.0,
    "addmm": 1.0,
    "linalg_inv_ex": 4 / 3,
    "_linalg_solve_ex": 4 / 3,  # 1/3 for the factors and 1 for the solve
    "linalg_lu_factor_ex": 1 / 3,
    "linalg_lu_solve": 1.0,  # with a right-hand side of n columns
    "linalg_cholesky_ex": 1 / 6,
    "linalg_solve_triangular": 1 / 2,  # with a right-hand side of n columns
    "linalg_qr": 4 / 3,
}
# Estimates for iterative operators, whose work depends on the matrix: about 9 n³ flop for
# _linalg_eigh, 22 n³ for _linalg_svd and 4/3 n³ for linalg_eigvalsh.
_ESTIMATED = {"_linalg_eigh": 4.5, "_linalg_svd": 11.0, "linalg_eigvalsh": 2 / 3}
# Views and bookkeeping, which are no work for a device.
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


class _Operator(NamedTuple):
    """An operator of torch, and its work on a whole batch."""

    name: str
    is_free: bool
    products: float
    estimated: float  # see `_ESTIMATED`


@cache
def _operator(func: Any) -> _Operator:
    """Return an operator with its work. It is cached, since a call repeats its operators."""
    name = func.overloadpacket.__name__
    # The marks of the profiler that measures memory belong to the harness, not to the method.
    is_free = name in _FREE or func.namespace == "profiler"
    return _Operator(name, is_free, _PRODUCTS.get(name, 0.0), _ESTIMATED.get(name, 0.0))


class Counts(NamedTuple):
    """The work of one call. A count is None where it cannot be observed."""

    products: float | None  # number of products of the batch's matrices
    certain: float | None  # those of them in the precision of the batch; others may be faster
    rounded: float | None  # those of them whose operands tensor cores round, which are faster
    operators: int | None
    launches: int | None  # kernels on a GPU
    flops: float | None  # with an estimate for iterative operators


class _Sum:
    """Sums up the work of a call, in units of work on the whole batch.

    like: (..., n, n), the batch.
    """

    def __init__(self, like: Array) -> None:
        self.products = self.certain = self.rounded = self.estimated = 0.0
        self.operators = 0
        self.batch, self.n, self.dtype = prod(like.shape[:-2]), like.shape[-1], dtype_name(like)
        self.thread = get_ident()

    def add(
        self, products: float, estimated: float, share: float, *, dtype: str, rounded: bool = False
    ) -> None:
        """Add the work of one operator.

        products, estimated: its work on a whole batch, counted and estimated.
        share: the part of the batch that it works on, see `part`.
        dtype: its precision.
        rounded: whether it rounds its operands to fewer digits than those of `dtype`.
        """
        self.products += products * share
        self.estimated += estimated * share
        if rounded:
            self.rounded += products * share
        elif dtype == self.dtype:
            self.certain += products * share

    def part(self, numbers: int, columns: float) -> float:
        """Return the share of the batch that a product takes.

        numbers, columns: entries of its left factor, and columns of its right one; the whole batch
            has b n² and n.
        """
        whole = self.batch * self.n**3
        return numbers * columns / whole if whole else 0.0

    def add_launch(self, effort: Effort) -> None:
        """Add the work of one launch of a kernel of mssbench, as one operator."""
        self.operators += 1
        share = self.part(effort.matrices * effort.n**2, effort.n)
        self.add(
            effort.products, effort.estimated, share, dtype=effort.dtype, rounded=effort.rounded
        )

    def counts(self) -> Counts:
        """Return the counts without `launches`, which are those of the call's CUDA graph."""
        flops = (self.products + self.estimated) * 2.0 * self.n**3 * self.batch
        seen = self.products, self.certain, self.rounded, self.operators
        return Counts(*seen, None, float(flops))


class LaunchCounter:
    """Counts the kernels of mssbench that this thread launches inside the block, and nothing else.

    For libraries without a dispatcher that could be observed.

    like: (b, n, n), the batch.
    """

    def __init__(self, like: Array) -> None:
        self._sum = _Sum(like)

    def __enter__(self) -> "LaunchCounter":
        listeners.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        listeners.remove(self)

    def launched(self, effort: Effort) -> None:
        """Add the work of a launch, see effort.Listener."""
        if get_ident() == self._sum.thread:
            self._sum.add_launch(effort)

    def counts(self, *methods: Method) -> Counts:
        """Return the counts after a call of these methods.

        They are known only if the methods do all their work in kernels of mssbench, which is the
        case if they declare as many launches as were observed.
        """
        declared = [0 if _symmetrized(m) else m.launches for m in methods]
        if not all(declared) or sum(declared) != self._sum.operators:
            return Counts(None, None, None, None, None, None)
        return self._sum.counts()


def _symmetrized(method: Method) -> bool:
    """Whether the library symmetrizes the cotangent before it calls this method."""
    return method.kind == "backward" and not method.symmetrizes


class OperatorCounter(TorchDispatchMode):
    """Counts the operators of torch and the kernels of mssbench that run inside the block.

    Only work of this thread counts, and work of autograd for it.

    like: (b, n, n), the batch; a product of k matrices of its size counts k / b.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, so that torch does not wrap `__torch_dispatch__`.

        The wrapper would hide the function from torch's compiler. It would import that compiler
        before the first call, which takes over a second, in a process that compiles nothing.
        """
        return False

    def __init__(self, like: Array) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sum = _Sum(like)

    def __enter__(self) -> "OperatorCounter":
        super().__enter__()  # type: ignore[no-untyped-call]
        listeners.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        listeners.remove(self)
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def launched(self, effort: Effort) -> None:
        """Add the work of a launch, see effort.Listener."""
        # A backward on a GPU runs in a thread of autograd, which inherits the modes of this thread.
        if get_ident() == self._sum.thread or self in _get_current_dispatch_mode_stack():
            self._sum.add_launch(effort)

    def counts(self, *_: Method) -> Counts:
        """Return the counts so far, whatever was called."""
        return self._sum.counts()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = _operator(func)
        if operator.is_free:
            return out

        self._sum.operators += 1
        if operator.products or operator.estimated:
            share, dtype = self._share(operator.name, args, out)
            self._sum.add(operator.products, operator.estimated, share, dtype=dtype)
        return out

    def _share(self, name: str, args: tuple[Any, ...], out: Any) -> tuple[float, str]:
        """Return the share of the work on a whole batch, and the precision of the operator.

        The whole is a product of the batch, or a solve for as many columns as its matrices have.
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
            columns = (n / 3 + k) * 3 / 4  # the factors take 1/3 of 4/3, for any k
        else:
            columns = float(n)

        return self._sum.part(prod(a.shape), columns), dtype_name(a)


def launches(call: Callable[[Any], object], prepared: Any) -> int | None:
    """Return the number of kernels that `call(prepared)` starts on a GPU, from its CUDA graph.

    No profiler is used: CUPTI stays attached to a process that has once used it, and makes every
    later launch slower, which would favour methods of few launches. None where the number depends
    on the data, or where the driver returns an error. Raises CaptureFailed where the call cannot be
    captured, for instance because it waits for the device; the process should then be left soon.
    """
    graph = torch.cuda.CUDAGraph(keep_graph=True)  # otherwise torch destroys the nodes
    output = capture(torch.cuda, graph, call, prepared)
    count = kernel_nodes(graph.raw_cuda_graph(), ctypes.CDLL("libcuda.so.1"))
    del output  # its memory belongs to the graph, which is released next
    return count


# CUgraphNodeType of cuda.h. The data decides how often a conditional node runs.
_KERNEL_NODE, _CHILD_NODE, _CONDITIONAL_NODE = 0, 4, 13


def kernel_nodes(graph: int, driver: Any) -> int | None:
    """Return the number of kernels in a CUDA graph, including the graphs inside it.

    graph: its handle, a CUgraph or cudaGraph_t, which are the same.
    driver: libcuda.

    Copies and fills by the copy engines are nodes of other types and are not counted. None where a
    node is conditional, or where the driver returns an error.
    """
    nodes, total = _nodes(graph, driver), 0
    if nodes is None:
        return None

    for node in nodes:
        kind = ctypes.c_int()
        if driver.cuGraphNodeGetType(node, ctypes.byref(kind)) or kind.value == _CONDITIONAL_NODE:
            return None

        kernels: int | None = int(kind.value == _KERNEL_NODE)
        if kind.value == _CHILD_NODE:
            child = ctypes.c_void_p()
            if driver.cuGraphChildGraphNodeGetGraph(node, ctypes.byref(child)):
                return None
            kernels = kernel_nodes(child.value or 0, driver)

        if kernels is None:
            return None
        total += kernels

    return total


def _nodes(graph: int, driver: Any) -> list[ctypes.c_void_p] | None:
    """Return the nodes of a graph; None where the driver returns an error."""
    handle, count = ctypes.c_void_p(graph), ctypes.c_size_t()
    if driver.cuGraphGetNodes(handle, None, ctypes.byref(count)):
        return None
    nodes = (ctypes.c_void_p * count.value)()
    if driver.cuGraphGetNodes(handle, nodes, ctypes.byref(count)):
        return None
    return [ctypes.c_void_p(node) for node in nodes]
