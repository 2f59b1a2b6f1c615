"""Square root by Newton–Schulz, with the affine factor of each step fused into a product."""

from mssbench.arrays import Array, eye_like, namespace
from mssbench.methods.coupled import products
from mssbench.methods.forward.newton_schulz import taken
from mssbench.methods.method import AUTO, Root, Steps, Wanted
from mssbench.methods.minimax import taylor
from mssbench.methods.norms import Norm, normalized
from mssbench.methods.registry import register_forward


@register_forward(
    cite="Higham, Functions of Matrices, SIAM 2008, ch. 6; torch.baddbmm, as in NVIDIA "
    "Emerging-Optimizers (2025)",
    products=lambda iterations, norm: products([taylor(3)] * iterations, norm),
    libraries=("torch",),
)
def newton_schulz_baddbmm(
    a: Array, wanted: Wanted, *, iterations: Steps = 5, norm: Norm = "frobenius"
) -> Root:
    """Coupled Newton–Schulz whose T is one call of `baddbmm`: fewer kernels than `newton_schulz`.

    Y = A / c, Z = I;  k times: T = baddbmm(3/2 I, Z, -Y / 2),  Y, Z = Y T, T Z;  A^{1/2} = √c Y,
    A^{-1/2} = Z / √c.

    a: (..., n, n), torch. c: the upper bound of A's eigenvalues that `norm` names. The arithmetic
    is that of `newton_schulz`, except that 3/2 I is added within the product. With `iterations` =
    "auto" it calls `newton_schulz`.
    """
    if iterations == AUTO:
        return taken(a, wanted, iterations, norm)

    x, root_c = normalized(a, norm)  # root_c: (..., 1, 1)
    y, z = x.reshape(-1, *x.shape[-2:]), None
    eye = eye_like(y).expand_as(y)
    for left in range(iterations - 1, -1, -1):
        if z is None:
            t = 1.5 * eye - 0.5 * y
        else:
            t = namespace(a).baddbmm(eye, z, y, beta=1.5, alpha=-0.5)
        if left or "sqrt" in wanted:
            y = y @ t
        if left or "isqrt" in wanted:
            z = t if z is None else t @ z

    z = eye if z is None else z
    return Root(
        sqrt=y.reshape(x.shape) * root_c if "sqrt" in wanted else None,
        isqrt=z.reshape(x.shape) / root_c if "isqrt" in wanted else None,
    )
