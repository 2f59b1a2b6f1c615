"""Functions beside the two roots, each as the methods for it compute it.

- `sqrt_x` is the root of a covariance as a function of the features.
- `whiten` is a W with W A Wᵀ = I: an inverse root, or what a method makes without one.
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

# The root whose pairs compute a function as well; None where no pair does.
_ROOT_OF: dict[str, Function | None] = {"sqrt_x": "sqrt", "whiten": "isqrt", "log": None}


@dataclass(frozen=True)
class OtherFunction:
    """One of these functions by one method, or by a pair for the root behind it."""

    function: str
    forward: Method
    backward: Method | None
    pair: Pair | None  # None for a method that computes the function itself

    @property
    def is_own(self) -> bool:
        """Whether the method computes the function itself, with a gradient of its own."""
        return self.pair is None

    def computes_in(self, library: str, precision: str) -> str:
        """That of the pair, or of the method itself."""
        return (self.pair or self.forward).computes_in(library, precision)

    def __call__(self, x: Array) -> Array:
        """Features (..., n, M), or matrices (..., n, n) -> (..., n, n), differentiable in `x`."""
        if self.pair is None:
            return self.forward.other_functions[self.function](x)
        if self.function == "sqrt_x":
            x = x @ arrays.transpose(x) / x.shape[-1]
        return self.pair(x)

    def field(self, x: Array) -> Array:
        """The same without a gradient."""
        return self(x)


def other_function(
    function: str,
    forward: str,
    backward: str | None,
    parameters: tuple[tuple[str, Any], ...] = (),
) -> OtherFunction:
    """Look up what computes a function.

    Raises what `pair` raises, and Unsupported for a method that does not compute the function, and
    for one with a gradient of its own that is paired with another.
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
