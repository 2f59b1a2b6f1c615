"""Roots whose torch operations are captured once as a CUDA graph and replayed by one launch."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeAlias

from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.methods.method import Root

Compute: TypeAlias = Callable[[Array], Root]
# Calls before a capture, in which libraries initialise and select kernels.
_WARM_UP = 2
# Graphs that are kept. More graphs avoid captures, but each holds the memory of one call.
KEPT = 16
_graphs: dict[tuple[Any, ...], tuple[Any, Array, Root]] = {}  # the most recently used last
_replayed: dict[int, Any] = {}  # device index -> the event after its last replay
_lock = Lock()  # held from the copy into a graph's input to the copy of its output


def replayed(compute: Compute, kind: tuple[Hashable, ...], a: Array) -> Root:
    """Return `compute(a)` by replaying a CUDA graph of it.

    First call of a kind:  capture A' -> R' by `compute`;
    every call:  A' <- A,  replay,  R <- a copy of R'.

    a: (..., n, n), torch on cuda. kind: a key of everything else that `compute` depends on, its
    name first. There is one graph per kind, shape, dtype, device and matmul precision. Each holds
    its own memory, and the 16 most recently used are kept. Replays on several streams wait for each
    other. Autograd does not record a replay. Inside another capture, `compute` becomes part of
    that capture. Raises Unsupported on a CPU.
    """
    torch = namespace(a)
    if not a.is_cuda:
        raise Unsupported(f"{kind[0]} replays a CUDA graph: torch on cuda only")

    a = a.detach()
    with torch.cuda.device(a.device), _lock:
        if torch.cuda.is_current_stream_capturing():
            return compute(a)

        stream, device = torch.cuda.current_stream(), a.device.index
        if device in _replayed:  # a replay on another stream may still use memory that graphs share
            stream.wait_event(_replayed[device])

        precision = torch.get_float32_matmul_precision()  # captured products keep this setting
        key = (kind, a.shape, a.dtype, device, precision)
        kept = _graphs.pop(key, None) or _capture(compute, a)
        _graphs[key] = kept
        if len(_graphs) > KEPT:  # no graph is in use, because the capture waited for the device
            del _graphs[next(iter(_graphs))]

        graph, given, root = kept
        given.copy_(a)
        graph.replay()
        copied = Root(
            sqrt=None if root.sqrt is None else root.sqrt.clone(),
            isqrt=None if root.isqrt is None else root.isqrt.clone(),
        )
        _replayed[device] = stream.record_event()
    return copied


def _capture(compute: Compute, a: Array) -> tuple[Any, Array, Root]:
    """Capture `compute` and return the graph, the matrices it reads, and the roots it writes."""
    torch = namespace(a)
    # Outside of inference mode, so that later callers may write to the tensors in either mode.
    with torch.inference_mode(False), torch.no_grad():
        given = torch.empty(a.shape, dtype=a.dtype, device=a.device)
        given.copy_(a)

        # Warm up on the stream of the capture, so that its workspaces are allocated there.
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                compute(given)

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            root = compute(given)
        current.wait_stream(side)
    return graph, given, root
