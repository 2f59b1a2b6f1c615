"""Square root by a fixed schedule of minimax factors and Newton–Schulz (Taylor) factors."""

from typing import Literal, TypeAlias

from mssbench.arrays import Array
from mssbench.methods import minimax
from mssbench.methods.coupled import iterate, products
from mssbench.methods.method import Root, Wanted
from mssbench.methods.minimax import Schedule
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward

Name: TypeAlias = Literal["9-9-ns5", "5-5-5-ns5", "9-9-ns5-ns5", "5-5-5-5-ns3"]
# Arguments of minimax.schedule: lower, degree, steps, and the degrees of the Taylor steps. They
# take 11, 13, 15 and 16 products.
_SCHEDULES: dict[str, tuple[float, int, int, tuple[int, ...]]] = {
    "9-9-ns5": (0.06, 9, 2, (5,)),
    "5-5-5-ns5": (0.06, 5, 3, (5,)),
    "9-9-ns5-ns5": (0.04, 9, 2, (5, 5)),
    "5-5-5-5-ns3": (0.03, 5, 4, (3,)),
}


def _schedule(name: str) -> Schedule:
    return minimax.schedule(*_SCHEDULES[name])


@register_forward(
    cite="this project, from the factors of Amsel et al., The Polar Express, arXiv 2505.16932, "
    "and Newton–Schulz steps at the end",
    products=lambda schedule, norm: products(_schedule(schedule).factors, norm),
    inexact="a fixed schedule: within 1e-6 where √(w/c) is in its interval, 2e-12 with 15 products",
)
def minimax_hybrid(
    a: Array,
    wanted: Wanted,
    *,
    schedule: Name = "9-9-ns5",
    norm: Norm = "min_ws_minc",
) -> Root:
    """Minimax steps that raise small eigenvalues fast, then one or two Newton–Schulz steps.

    Y = A / c, Z = I;  for each factor h of the schedule: T = h(Z Y),  Y, Z = Y T, T Z;
    A^{1/2} = √c Y,  A^{-1/2} = Z / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues w that `norm` names, see norms.py. The
    schedule is fixed, and no knowledge of the spectrum is needed. Its name lists the degrees of the
    minimax factors, and after `ns` that of a Newton–Schulz factor: `9-9-ns5` has two factors of
    degree 9, minimax for √(w/c) in [0.06, 1], and a Newton–Schulz factor of degree 5. The relative
    error is at most 1e-6 for eigenvalues with √(w/c) in that interval; for any positive
    semidefinite matrix the error of A^{1/2} is at most 0.0054 √c.
    """
    x, root_c = normalized(a, norm)
    return iterate(x, root_c, _schedule(schedule).factors, wanted)
