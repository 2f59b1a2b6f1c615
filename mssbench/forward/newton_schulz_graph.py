"""Newton–Schulz captured once as a CUDA graph, and replayed."""

from threading import Lock
from typing import Any

from mssbench.arrays import Array, namespace
from mssbench.bounds import Norm, normalized
from mssbench.coupled import iterate, products
from mssbench.errors import Unsupported
from mssbench.registry import Root, Wanted, register_forward
from mssbench.schedules import taylor

_WARM_UP = 2  # calls before a capture: libraries start and pick their kernels outside of it
_KEPT = 16  # graphs; each holds the memory of one call
_graphs: dict[tuple[Any, ...], tuple[Any, Array, Root]] = {}  # the last used last
_replayed: dict[int, Any] = {}  # device: the event after its last replay
_lock = Lock()  # from the copy into a graph's input to the copy of its output


@register_forward(
    cite="Higham, Functions of Matrices, SIAM 2008, ch. 6; CUDA C++ Programming Guide (2025), "
    "CUDA Graphs",
    products=lambda iterations, norm: products([taylor(3)] * iterations, norm),
    libraries=("torch",),
    opaque=True,
)
def newton_schulz_graph(
    a: Array, wanted: Wanted, *, iterations: int = 5, norm: Norm = "frobenius"
) -> Root:
    """Coupled Newton–Schulz as one launch: the kernels of `newton_schulz` without its calls.

    First call of a kind:  capture A' -> Y', Z' by `newton_schulz`;
    every call:  A' <- A,  replay,  Y, Z <- copies of Y', Z'.

    a: (..., n, n), torch on cuda. A graph for each shape, dtype and choice of parameters holds its
    own memory; the last 16 are kept. Replays on several streams wait for each other.
    A replay records no steps, so none are differentiated. Raises Unsupported on a CPU.
    """
    torch = namespace(a)
    if not a.is_cuda:
        raise Unsupported("newton_schulz_graph replays a CUDA graph: torch on cuda only")
    a = a.detach()
    with torch.cuda.device(a.device), _lock:
        if torch.cuda.is_current_stream_capturing():  # be part of somebody else's graph
            return _root(a, wanted, iterations, norm)
        stream, device = torch.cuda.current_stream(), a.device.index
        if device in _replayed:  # on another stream it may still use memory that graphs share
            stream.wait_event(_replayed[device])
        rule = torch.get_float32_matmul_precision()  # captured products keep it
        key = (a.shape, a.dtype, device, rule, wanted, iterations, norm)
        kept = _graphs.pop(key, None) or _capture(a, wanted, iterations, norm)
        _graphs[key] = kept
        if len(_graphs) > _KEPT:  # the capture has waited for the device: nothing is in use
            del _graphs[next(iter(_graphs))]
        graph, given, root = kept
        given.copy_(a)
        graph.replay()
        copied = Root(**{name: getattr(root, name).clone() for name in wanted})
        _replayed[device] = stream.record_event()
    return copied


def _root(a: Array, wanted: Wanted, iterations: int, norm: Norm) -> Root:
    x, root_c = normalized(a, norm)
    return iterate(x, root_c, [taylor(3)] * iterations, wanted)


def _capture(a: Array, wanted: Wanted, iterations: int, norm: Norm) -> tuple[Any, Array, Root]:
    """A graph, the matrices it reads, and the roots it writes."""
    torch = namespace(a)
    with torch.inference_mode(False), torch.no_grad():  # tensors that any later caller may write
        given = torch.empty(a.shape, dtype=a.dtype, device=a.device)
        given.copy_(a)
        current, own = torch.cuda.current_stream(), torch.cuda.Stream()
        own.wait_stream(current)
        with torch.cuda.stream(own):  # the stream of the capture, so that its workspaces are there
            for _ in range(_WARM_UP):
                _root(given, wanted, iterations, norm)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=own, capture_error_mode="thread_local"):
            root = _root(given, wanted, iterations, norm)
        current.wait_stream(own)
    return graph, given, root
