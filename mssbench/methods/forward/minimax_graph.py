"""Square root by the coupled iteration with minimax factors, replayed as a CUDA graph."""

from typing import Literal

from mssbench.arrays import Array
from mssbench.methods.coupled import products
from mssbench.methods.cuda_graph import replayed
from mssbench.methods.forward.minimax import minimax
from mssbench.methods.method import Root, Steps, Wanted
from mssbench.methods.minimax import taylor
from mssbench.methods.norms import Norm
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Amsel et al., The Polar Express, arXiv 2505.16932; CUDA C++ Programming Guide (2025), "
    "CUDA Graphs",
    products=lambda degree, iterations, finish, norm, **_: products(
        [taylor(degree)] * iterations + [taylor(min(degree, 5))] * finish, norm
    ),
    libraries=("torch",),
    opaque=True,
    launches=1,
    devices=("cuda",),
)
def minimax_graph(
    a: Array,
    wanted: Wanted,
    *,
    degree: Literal[3, 5, 9] = 5,
    iterations: Steps = 4,
    lower: float = 0.0,
    finish: int = 1,
    norm: Norm = "min_ws_minc",
) -> Root:
    """`minimax` in one launch, for matrices too large for a CUDA block: n of 128 and more.

    a: (..., n, n), torch on cuda. The parameters are those of `minimax`. See cuda_graph.py for the
    graphs that are kept and for synchronisation.
    Raises Unsupported on a CPU, and if the steps are too few for `lower`.
    """
    given = {
        "degree": degree,
        "iterations": iterations,
        "lower": lower,
        "finish": finish,
        "norm": norm,
    }

    def root(x: Array) -> Root:
        return minimax(x, wanted, **given)

    return replayed(root, ("minimax_graph", wanted, *given.values()), a)
