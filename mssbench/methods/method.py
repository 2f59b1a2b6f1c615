"""A method as it is registered, and what may be asked of it.

A *forward* computes a root; a *backward* turns the root's cotangent into the gradient. They meet
only in `Root`, so any forward pairs with any backward.
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

Kind: TypeAlias = Literal["forward", "backward"]
Function: TypeAlias = Literal["sqrt", "isqrt"]
Wanted: TypeAlias = frozenset[str]  # field names of Root
FUNCTIONS: tuple[Function, ...] = ("sqrt", "isqrt")
# How many steps a method takes: a number, or as many as the matrices need. Which of the two rules
# of methods/stopping.py decides that is in the docstring of the method.
AUTO: Literal["auto"] = "auto"
Steps: TypeAlias = int | Literal["auto"]
# What a cost is estimated for where the matrices decide: about the steps of Newton–Schulz at
# condition 1e3 and n = 64.
_STEPS_OF_AUTO = 15
# Decompositions and solves exist in these two storages only, in every library.
LAPACK_PRECISIONS = ("float64", "float32", "tf32")
# NumPy converts float32 to float64 for each decomposition, inverse and solve, and the result back.
# Torch, CuPy and SciPy have routines for float32.
NUMPY_IN_DOUBLE = {"numpy": "float64"}
HALF = ("bfloat16", "float16")
# Methods made of products alone, which messages name to those who have half precision.
TAKES_HALF: dict[Kind, str] = {"forward": "newton_schulz", "backward": "lyapunov_newton_schulz"}


class Root(NamedTuple):
    """What forwards and backwards meet in. A field that is not computed stays None."""

    sqrt: Array | None = None  # (..., n, n)  Y = A^{1/2}
    isqrt: Array | None = None  # (..., n, n)  Z = A^{-1/2}
    eigen: tuple[Array, Array] | None = None  # (..., n), (..., n, n)  A = V diag(w) Vᵀ
    iterates: tuple[Array, ...] = ()  # only for a backward that replays them
    # V, L, u and t, (..., n, n) twice and (..., n) twice, of a function of A that is no root alone:
    # its gradient is dL/dA = V (L ∘ (Vᵀ G V) + <u, diag(Vᵀ G V)> diag(t)) Vᵀ
    differential: tuple[Array, ...] = ()


class Parameter(NamedTuple):
    """A keyword-only argument of a method: exactly what a suite may sweep."""

    name: str
    type: type
    choices: tuple[Any, ...]  # empty: any value of the type
    default: Any
    words: tuple[str, ...] = ()  # what may stand in place of a number: auto

    def describe(self) -> str:
        """`norm=frobenius (trace|frobenius|...)`, `iterations=5 (or auto)`."""
        choices = "|".join(map(str, self.choices)) or " ".join(f"or {word}" for word in self.words)
        return f"{self.name}={self.default}" + (f" ({choices})" if choices else "")

    @property
    def public_default(self) -> Any:
        """What the functions `sqrtm` and `isqrtm` take where the caller gives nothing."""
        return AUTO if AUTO in self.words else self.default


@dataclass(frozen=True)
class Method:
    """A registered forward or backward and what may be asked of it."""

    kind: Kind
    name: str
    call: Callable[..., Any]
    cite: str
    libraries: tuple[str, ...]
    precisions: tuple[str, ...]
    products: Callable[..., float]  # (**parameters) -> cost in batched products, an estimate
    fields: tuple[str, ...]  # of Root: what a forward yields; what a backward reads if it can
    recorded: bool = False  # backward: autograd records the forward; nothing is saved by us
    inexact: str = ""  # why no choice of its parameters makes it exact; "": some do
    cuts_null: bool = False  # forward: eigenvalues that are rounding errors are zeros behind a root
    at_singular: str = ""  # what is wrong with a gradient for a singular A; "": nothing
    sizes: tuple[int, ...] = ()  # forward: the n it takes; (): any
    only: bool = False  # backward: pairs only with forwards that yield what it reads
    package: str = ""  # what a plugin imports beside torch and numpy, once a pair is built with it
    opaque: bool = False  # forward: autograd would not find its gradient; the implicit ones do
    apply: Callable[[Array, Array], Array] | None = None  # forward: A^{-1/2} b by itself
    # forward: of what it computes by itself, beside a root: X -> (X Xᵀ / M)^{1/2}, A -> W with
    # W A Wᵀ = I, and A -> log A
    of_features: Callable[[Array], Array] | None = None
    whitens: Callable[[Array], Array] | None = None
    takes_logarithm: Callable[[Array], Array] | None = None
    symmetrizes: bool = False  # backward: it takes any cotangent, and its symmetric part itself
    solves: bool = False  # backward: of A^{1/2} it is S with Y S + S Y = G, for whatever G
    launches: int = 0  # of a call on a GPU; 0: as many as it has products, and more
    devices: tuple[str, ...] = ()  # on which it runs; (): on any
    computes: tuple[tuple[str, str], ...] = ()  # library, and the precision it computes in there

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Name to parameter, in the order of the signature."""
        swept = swept_parameters(self.call)
        hints = hints_of(self.call, swept)
        return {name: _parameter(self, p, hints.get(name)) for name, p in swept.items()}

    @property
    def other_functions(self) -> dict[str, Callable[[Array], Array]]:
        """What it computes by itself beside a root, by the name that suites have for it."""
        own = {"sqrt_x": self.of_features, "whiten": self.whitens, "log": self.takes_logarithm}
        return {name: call for name, call in own.items() if call is not None}

    def computes_in(self, library: str, precision: str) -> str:
        """The wider precision in which it really computes; empty where that is the one asked for.

        It belongs to the library's decompositions, inverses and solves, whose time and error are
        not those of the precision that was asked for.
        """
        own = dict(self.computes).get(library, "")
        return own if own and STORAGE[precision] != own else ""

    @property
    def functions(self) -> tuple[Function, ...]:
        """The roots it computes; a backward serves both."""
        return tuple(f for f in FUNCTIONS if self.kind == "backward" or f in self.fields)

    @property
    def replays(self) -> bool:
        """Whether a backward goes back through the forward's steps, at about twice their cost."""
        return self.kind == "backward" and (self.recorded or "iterates" in self.fields)

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.call) or "").partition("\n")[0]

    def complete(self, given: Mapping[str, Any], *, public: bool = False) -> dict[str, Any]:
        """`given` checked, with defaults filled in. Raises RegistryError with the nearest word.

        public: the defaults are those of the functions `sqrtm` and `isqrtm`.
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
        """The products of a call with these parameters; an estimate for steps that are "auto"."""
        if AUTO not in given.values():  # asked for every cell of a suite
            return self.products(**given)
        known = {
            name: _STEPS_OF_AUTO if value == AUTO and AUTO in self.parameters[name].words else value
            for name, value in given.items()
        }
        return self.products(**known)

    def check(self, name: str, value: Any) -> Any:
        """The value as the parameter's type. Raises RegistryError where it is not one."""
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
            raise RegistryError(f"{self.kind} {self.name!r}: {name} = {value!r} is not {wanted}.")
        if isinstance(value, int) and value < 0:
            raise RegistryError(f"{self.kind} {self.name!r}: {name} = {value} is negative.")
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
