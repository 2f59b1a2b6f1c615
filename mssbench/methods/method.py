"""The record of a registered method: its parameters, what it computes, and what it costs.

A *forward* computes a root; a *backward* turns the root's cotangent into the gradient. They
exchange data only through `Root`, so that any forward can be paired with any backward.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from mssbench.arrays import STORAGE, Array
from mssbench.errors import RegistryError, unknown
from mssbench.registries import hints_of, swept_parameters

MethodKind: TypeAlias = Literal["forward", "backward"]
Function: TypeAlias = Literal["sqrt", "isqrt"]
Wanted: TypeAlias = frozenset[str]  # field names of Root
FUNCTIONS: tuple[Function, ...] = ("sqrt", "isqrt")
# The number of steps of a method: an integer, or "auto" for as many as the matrices need. The
# docstring of each method says which stopping rule "auto" stands for.
AUTO: Literal["auto"] = "auto"
Steps: TypeAlias = int | Literal["auto"]
# The number of steps by which the cost of "auto" is estimated: about what Newton–Schulz takes at
# condition 1e3 and n = 64.
_STEPS_OF_AUTO = 15
# Decompositions and solves exist in every library for float64 and float32 storage only.
LAPACK_PRECISIONS = ("float64", "float32", "tf32")
# NumPy computes each decomposition, inverse and solve of float32 matrices in float64 and converts
# the result back. Torch, CuPy and SciPy have routines for float32.
NUMPY_IN_DOUBLE = {"numpy": "float64"}
HALF = ("bfloat16", "float16")
# Methods that consist of products alone. Error messages suggest them for half precision.
TAKES_HALF: dict[MethodKind, str] = {
    "forward": "newton_schulz",
    "backward": "lyapunov_newton_schulz",
}


class Root(NamedTuple):
    """The result of a forward and the input of a backward. Fields that are not computed are None.

    `iterates` and `differential` are empty tuples instead.
    """

    sqrt: Array | None = None  # (..., n, n)  Y = A^{1/2}
    isqrt: Array | None = None  # (..., n, n)  Z = A^{-1/2}
    eigen: tuple[Array, Array] | None = None  # (..., n), (..., n, n)  A = V diag(w) Vᵀ
    iterates: tuple[Array, ...] = ()  # for backwards that go back through the forward's steps
    # V and L, (..., n, n), u and t, (..., n), of a function of A that is not exactly a root. Its
    # gradient is dL/dA = V (L ∘ (Vᵀ G V) + <u, diag(Vᵀ G V)> diag(t)) Vᵀ.
    differential: tuple[Array, ...] = ()


class Parameter(NamedTuple):
    """A keyword-only argument of a method. Suites can set these arguments, and no others."""

    name: str
    type: type
    choices: tuple[Any, ...]  # empty: any value of the type
    default: Any
    words: tuple[str, ...] = ()  # words allowed in place of a number: "auto"

    def describe(self) -> str:
        """Return name, default, choices: `norm=trace (trace|...)`, `iterations=5 (or auto)`."""
        choices = "|".join(map(str, self.choices)) or " ".join(f"or {word}" for word in self.words)
        return f"{self.name}={self.default}" + (f" ({choices})" if choices else "")

    @property
    def public_default(self) -> Any:
        """The default of the functions `sqrtm` and `isqrtm`: "auto" if the parameter takes it."""
        return AUTO if AUTO in self.words else self.default


@dataclass(frozen=True)
class Method:
    """A registered forward or backward: its function and its declared properties."""

    kind: MethodKind
    name: str
    call: Callable[..., Any]
    cite: str
    libraries: tuple[str, ...]
    precisions: tuple[str, ...]
    products: Callable[..., float]  # (**parameters) -> cost in batched products, an estimate
    fields: tuple[str, ...]  # fields of Root: those a forward yields, or a backward prefers to read
    recorded: bool = False  # backward: autograd records the forward, and no fields are saved
    inexact: str = ""  # why no parameters make the method exact; "" if some do
    cuts_null: bool = False  # forward: eigenvalues that are rounding errors of zeros are set to 0
    at_singular: str = ""  # what is wrong with the gradient for a singular A; "" if it is right
    sizes: tuple[int, ...] = ()  # forward: the sizes n that it takes; () for any
    only: bool = False  # backward: pairs only with forwards that yield the fields it reads
    package: str = ""  # a module beside torch and numpy, imported when a pair is built
    opaque: bool = False  # forward: autograd cannot differentiate it; implicit backwards can
    apply: Callable[[Array, Array], Array] | None = None  # forward: (A, b) -> A^{-1/2} b
    # forward: functions that it computes directly, without a root: X -> (X Xᵀ / M)^{1/2},
    # A -> W with W A Wᵀ = I, and A -> log A
    of_features: Callable[[Array], Array] | None = None
    whitens: Callable[[Array], Array] | None = None
    takes_logarithm: Callable[[Array], Array] | None = None
    symmetrizes: bool = False  # backward: takes any cotangent and symmetrises it itself
    solves: bool = False  # backward: for A^{1/2} it solves Y S + S Y = G for any symmetric G
    launches: int = 0  # GPU launches of one call; 0 for at least one per product
    devices: tuple[str, ...] = ()  # devices on which it runs; () for any
    computes: tuple[tuple[str, str], ...] = ()  # pairs of a library and the precision it uses there

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters by name, in the order of the signature."""
        swept = swept_parameters(self.call)
        hints = hints_of(self.call, swept)
        return {name: _parameter(self, p, hints.get(name)) for name, p in swept.items()}

    @property
    def other_functions(self) -> dict[str, Callable[[Array], Array]]:
        """The functions other than roots that the method computes, by name: sqrt_x, whiten, log."""
        calls = {"sqrt_x": self.of_features, "whiten": self.whitens, "log": self.takes_logarithm}
        return {name: call for name, call in calls.items() if call is not None}

    def computes_in(self, library: str, precision: str) -> str:
        """Return the wider precision in which the method computes in a library; "" if none.

        Some libraries compute decompositions, inverses and solves in float64 whatever the
        requested precision is. Time and error are then those of the wider precision.
        """
        wider = dict(self.computes).get(library, "")
        return wider if wider and STORAGE[precision] != wider else ""

    @property
    def functions(self) -> tuple[Function, ...]:
        """Which of `sqrt` and `isqrt` a forward computes. A backward works for both."""
        return tuple(f for f in FUNCTIONS if self.kind == "backward" or f in self.fields)

    @property
    def replays(self) -> bool:
        """Whether it is a backward through the steps of the forward, at about twice their cost."""
        return self.kind == "backward" and (self.recorded or "iterates" in self.fields)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.call) or "").partition("\n")[0]

    def complete(self, given: Mapping[str, Any], *, public: bool = False) -> dict[str, Any]:
        """Check the given parameters and fill in the defaults.

        public: use the defaults of the functions `sqrtm` and `isqrtm`.
        Raises RegistryError for an unknown parameter, for which it suggests the nearest known name,
        and for a value of a wrong type or out of range.
        """
        for name in given:
            if name not in self.parameters:
                raise RegistryError(self._takes_no(name))

        return {
            name: self.check(name, given[name])
            if name in given
            else (p.public_default if public else p.default)
            for name, p in self.parameters.items()
        }

    def cost(self, given: Mapping[str, Any]) -> float:
        """Return the cost of one call in batched matrix products, estimated if steps are "auto"."""
        # The shortcut matters because this runs for every cell of a suite.
        if AUTO not in given.values():
            return self.products(**given)

        known = {
            name: _STEPS_OF_AUTO if value == AUTO and AUTO in self.parameters[name].words else value
            for name, value in given.items()
        }
        return self.products(**known)

    def check(self, name: str, value: Any) -> Any:
        """Return the value in the type of the parameter `name`.

        Raises RegistryError if it has another type, is negative, or is not one of the choices.
        """
        p = self.parameters[name]
        if p.choices:
            if type(value) is not p.type or value not in p.choices:
                words = [str(choice) for choice in p.choices]
                raise RegistryError(unknown(f"{name} of {self.name}", value, words))
            return value
        if type(value) is str and value in p.words:
            return value

        if p.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not p.type:
            wanted = " or ".join([_a(p.type), *(f'"{word}"' for word in p.words)])
            raise RegistryError(
                f"{self.kind} {self.name!r}: its parameter {name} = {value!r} is not {wanted}."
            )

        if isinstance(value, int) and value < 0:
            raise RegistryError(
                f"{self.kind} {self.name!r}: its parameter {name} = {value} is negative."
            )
        return value

    def _takes_no(self, name: str) -> str:
        who = f"{self.kind} {self.name!r} takes no {name!r}"
        if not self.parameters:
            return f"{who}: it has no parameters."
        return f"{who}. {unknown('parameter', name, self.parameters)}"


def _parameter(method: Method, p: inspect.Parameter, hint: Any) -> Parameter:
    if p.default is p.empty:
        raise RegistryError(f"{method.kind} {method.name!r}: parameter {p.name!r} needs a default.")
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    words = (AUTO,) if hint == Steps else ()
    return Parameter(p.name, type(p.default), choices, p.default, words)


def _a(kind: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return names.get(kind, kind.__name__)
