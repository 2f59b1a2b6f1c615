"""The Lyapunov equation of the gradient, and the decorator that registers its solvers.

Differentiating Y Y = A gives  dY Y + Y dY = dA. This linear map is self-adjoint, so that with the
symmetric cotangent G of Y the gradient S = dL/dA satisfies  Y S + S Y = G.
For Z = Y^{-1}, dZ = -Z dY Z turns the cotangent G of Z into -Z G Z for Y. Both roots lead to one
equation:

    Y S + S Y = R      with R = G for the root Y = A^{1/2},   R = -Z G Z for Z = A^{-1/2}.

(Z S + S Z = -Z² G Z² has the same solution but is worse conditioned.)
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods.method import Function, Root
from mssbench.methods.registry import register_backward

HALF_OF_THE_MIXED = "loses about half of the gradient between the range and the null space"


def law(root: Root, function: Function, g: Array) -> tuple[Array, Array]:
    """Return (Y, R) of the Lyapunov equation Y S + S Y = R for the cotangent g of `function`.

    Raises Unsupported if the forward does not yield a root that the equation needs.
    """
    y, z = root.sqrt, root.isqrt
    if y is None or (function == "isqrt" and z is None):
        raise Unsupported(
            f"this forward does not yield the roots that the gradient of {function} needs"
        )
    return y, g if function == "sqrt" else -(z @ g @ z)


def lyapunov_solver(
    *,
    cite: str,
    products: Callable[..., float],
    libraries: Collection[str] = arrays.LIBRARIES,
    precisions: Collection[str] = tuple(arrays.STORAGE),
    at_singular: str = HALF_OF_THE_MIXED,
    computes: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Register `solve(y, r, *, <parameters>) -> s` with Y S + S Y = R as a backward.

    y: (..., n, n), the root A^{1/2}; r: (..., n, n), symmetric. The arguments of the decorator are
    those of `register_backward`.
    at_singular: what is wrong with the gradient of a singular A. Solvers that iterate for the sign
    of a block matrix find the sign 0 for a null direction, and so return half of the gradient
    between the range and the null space.
    """

    def decorate(solve: Callable[..., Array]) -> Callable[..., Array]:
        @wraps(solve)
        def backward(root: Root, function: Function, g: Array, **parameters: Any) -> Array:
            y, r = law(root, function, g)
            return solve(y, r, **parameters)

        # The registry reads the parameters from the signature.
        backward.__signature__ = inspect.signature(solve)  # type: ignore[attr-defined]
        register_backward(
            cite=cite,
            products=products,
            libraries=libraries,
            precisions=precisions,
            at_singular=at_singular,
            computes=computes,
            solves=True,
        )(backward)
        return solve

    return decorate
