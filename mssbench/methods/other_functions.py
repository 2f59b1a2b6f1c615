"""Functions other than the two roots, computed by a method itself or by a pair for a root.

- `sqrt_x` is the root of the covariance X Xᵀ / M, as a function of the features X.
- `whiten` is a matrix W with W A Wᵀ = I: the inverse root, or another such matrix.
- `log` is the logarithm.
"""

from dataclasses import dataclass
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import Unsupported
from mssbench.methods import registry
from mssbench.methods.method import Function, Method
from mssbench.methods.pair import Pair, pair

# The root whose pairs also compute the function; None if only methods themselves do.
_ROOT_OF: dict[str, Function | None] = {"sqrt_x": "sqrt", "whiten": "isqrt", "log": None}


@dataclass(frozen=True)
class OtherFunction:
    """One of sqrt_x, whiten and log, computed by one method or by a pair; callable on a batch."""

    function: str
    forward: Method
    backward: Method | None
    pair: Pair | None  # None for a method that computes the function itself

    @property
    def is_own(self) -> bool:
        """Whether the method computes the function itself, with a gradient of its own."""
        return self.pair is None

    def computes_in(self, library: str, precision: str) -> str:
        """Return the wider precision in which the method or the pair computes; "" if there is none.

        Some libraries compute in float64 whatever precision is requested, see `Method.computes_in`.
        """
        return (self.pair or self.forward).computes_in(library, precision)

    def __call__(self, x: Array) -> Array:
        """Return the function of features (..., n, M) or matrices (..., n, n), as (..., n, n).

        The result is differentiable in `x`.
        """
        if self.pair is None:
            return self.forward.other_functions[self.function](x)
        if self.function == "sqrt_x":
            x = x @ arrays.transpose(x) / x.shape[-1]
        return self.pair(x)

    def field(self, x: Array) -> Array:
        """Return the function of `x` if no gradient is needed.

        The method has this name so that it can be called like `Pair.field`.
        """
        return self(x)


def other_function(
    function: str,
    forward: str,
    backward: str | None,
    parameters: tuple[tuple[str, Any], ...] = (),
) -> OtherFunction:
    """Look up the method or the pair that computes a function.

    Raises RegistryError for an unknown name or parameter, NotInstalled if a package is missing, and
    Unsupported if the method does not compute the function, or has its own gradient for it and
    `backward` names another one.
    """
    f = registry.lookup("forward", forward)
    if function not in f.other_functions:
        root = _ROOT_OF[function]
        if root is None:
            raise Unsupported(f"{f.name} does not compute {function}")
        chosen = pair(root, forward, backward, parameters)
        return OtherFunction(function, chosen.forward, chosen.backward, chosen)

    b = None if backward is None else registry.lookup("backward", backward)
    if b is not None and not b.recorded:
        raise Unsupported(f"{f.name} has its own gradient: it pairs with autodiff, not {b.name}")

    f.complete(dict(parameters))
    return OtherFunction(function, f, b, None)
