"""A chain of torch operations captured once as a CUDA graph, and replayed: one launch for all."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeAlias

from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.methods.method import Root

Compute: TypeAlias = Callable[[Array], Root]
_WARM_UP = 2  # calls before a capture: libraries start and pick their kernels outside of it
KEPT = 16  # graphs; each holds the memory of one call
_graphs: dict[tuple[Any, ...], tuple[Any, Array, Root]] = {}  # the last used last
_replayed: dict[int, Any] = {}  # device: the event after its last replay
_lock = Lock()  # from the copy into a graph's input to the copy of its output


def replayed(compute: Compute, kind: tuple[Hashable, ...], a: Array) -> Root:
    """`compute(a)` without its calls.

    First call of a kind:  capture A' -> R' by `compute`;
    every call:  A' <- A,  replay,  R <- a copy of R'.

    a: (..., n, n), torch on cuda. kind: all that `compute` depends on but `a`, its name first. A
    graph for each kind, shape and dtype holds its own memory; the last 16 are kept. Replays on
    several streams wait for each other. A replay records no steps, so none are differentiated.
    Inside somebody else's capture it is part of that. Raises Unsupported on a CPU.
    """
    torch = namespace(a)
    if not a.is_cuda:
        raise Unsupported(f"{kind[0]} replays a CUDA graph: torch on cuda only")
    a = a.detach()
    with torch.cuda.device(a.device), _lock:
        if torch.cuda.is_current_stream_capturing():
            return compute(a)
        stream, device = torch.cuda.current_stream(), a.device.index
        if device in _replayed:  # on another stream it may still use memory that graphs share
            stream.wait_event(_replayed[device])
        rule = torch.get_float32_matmul_precision()  # captured products keep it
        key = (kind, a.shape, a.dtype, device, rule)
        kept = _graphs.pop(key, None) or _capture(compute, a)
        _graphs[key] = kept
        if len(_graphs) > KEPT:  # the capture has waited for the device: nothing is in use
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
    """A graph, the matrices it reads, and the roots it writes."""
    torch = namespace(a)
    with torch.inference_mode(False), torch.no_grad():  # tensors that any later caller may write
        given = torch.empty(a.shape, dtype=a.dtype, device=a.device)
        given.copy_(a)
        current, own = torch.cuda.current_stream(), torch.cuda.Stream()
        own.wait_stream(current)
        with torch.cuda.stream(own):  # the stream of the capture, so that its workspaces are there
            for _ in range(_WARM_UP):
                compute(given)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=own, capture_error_mode="thread_local"):
            root = compute(given)
        current.wait_stream(own)
    return graph, given, root
