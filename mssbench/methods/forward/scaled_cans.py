"""Square root by the ten cubic steps that NVIDIA's optimizers use."""

from mssbench.arrays import Array
from mssbench.methods.coupled import iterate, products
from mssbench.methods.method import Root, Wanted
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward

# The published (c_0, c_1) of T = c_0 I + c_1 W for each step; the last step is Newton–Schulz.
_FACTORS = (
    (5.1825, -5.1781),
    (2.5861, -0.64795),
    (2.5674, -0.6455),
    (2.5206, -0.63935),
    (2.4108, -0.62487),
    (2.1883, -0.5952),
    (1.8596, -0.55045),
    (1.5890, -0.51266),
    (1.5052, -0.50074),
    (1.5, -0.5),
)


@register_forward(
    cite="NVIDIA Emerging-Optimizers; Grishina et al., CANS, arXiv 2506.10935",
    products=lambda norm: products(_FACTORS, norm),
    inexact="a fixed schedule: within 3.1e-5 where √(w/c) is 0.001 or more",
)
def scaled_cans(a: Array, wanted: Wanted, *, norm: Norm = "frobenius") -> Root:
    """Coupled iteration with ten fixed cubic factors, for eigenvalues w with √(w/c) down to 0.001.

    Y = A / c, Z = I;  for (c_0, c_1) in turn: T = c_0 I + c_1 Z Y,  Y, Z = Y T, T Z;
    A^{1/2} = √c Y,  A^{-1/2} = Z / √c.

    a: (..., n, n). c: the upper bound of A's eigenvalues that `norm` names. The relative error is
    at most 3.1e-5 for eigenvalues w with √(w/c) >= 0.001.
    """
    x, root_c = normalized(a, norm)
    return iterate(x, root_c, _FACTORS, wanted)
