"""Problem generators and modifiers by name, and what may be asked of each.

A plugin or a user's file registers a generator exactly as the built-in modules do.
"""

import importlib
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from mssbench.errors import RegistryError
from mssbench.problems.rng import Floats
from mssbench.registries import Registry

Kind: TypeAlias = Literal["problem", "modifier"]
Fits: TypeAlias = Callable[..., str | None]


class Bounds(NamedTuple):
    """The values a number may take: low < x or low <= x, and x <= high."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False  # low itself is excluded

    def complaint(self, value: float) -> str | None:
        """Why `value` is outside, as the end of a sentence; None if it is inside."""
        if not (value > self.low if self.open else value >= self.low):
            return f"must be {'greater than' if self.open else 'at least'} {spell(self.low)}"
        if value > self.high:
            return f"must be at most {spell(self.high)}"
        return None


class Outside(NamedTuple):
    """What a problem needs besides its generator if its matrices come from outside, as a file's do.

    complete(**parameters) -> all parameters, with those filled in that name what is there now.
    cotangent(n, rng, **parameters) -> (b, n, n), or None where the source has no cotangents.
    describe(batches, **parameters) -> what was read, as one line for the user.
    lacked(reason, **parameters) -> whether this reason why a cell was refused says that the source
    was gone or had changed, which may be put right again.
    """

    complete: Callable[..., dict[str, Any]]
    cotangent: Callable[..., Floats | None]
    describe: Callable[..., str]
    lacked: Callable[..., bool]


class Parameter(NamedTuple):
    """A keyword-only argument of a generator: what a problem text may set."""

    name: str
    type: type
    choices: tuple[str, ...]  # empty: any value of the type within the bounds
    default: Any
    bounds: Bounds

    @property
    def is_free_text(self) -> bool:
        """Whether any text is a value, such as the path of a file."""
        return self.type is str and not self.choices

    def describe(self) -> str:
        """`ratio=0.766`, `image=grass (brick|grass|...)`."""
        choices = f" ({'|'.join(self.choices)})" if self.choices else ""
        return f"{self.name}={spell(self.default)}{choices}"


@dataclass(frozen=True)
class Generator:
    """A registered problem generator, or a modifier, and what may be asked of it."""

    kind: Kind
    name: str
    call: Callable[..., Floats]
    cite: str
    package: str | None  # the pip extra it needs: "data"
    sizes: str  # in words: "any", "30 or 13"
    fits: Fits | None  # (n, **parameters) -> why there is no such size, or None
    bounds: Mapping[str, Bounds] = field(repr=False)
    repeated: bool = False  # eigenvalues repeat, exactly or up to noise
    outside: Outside | None = None
    samples: Callable[..., int] | None = None  # (n, **parameters) -> M of a covariance X Xᵀ / M

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Name to parameter, in the order of the signature."""
        hints = typing.get_type_hints(self.call)
        return {
            p.name: self._parameter(p, hints.get(p.name))
            for p in inspect.signature(self.call).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.call) or "").partition("\n")[0]

    def check_size(self, n: int, given: Mapping[str, Any]) -> str | None:
        """Why there is no n by n matrix with these parameters; None if there is."""
        return self.fits(n, **given) if self.fits else None

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, with those filled in that depend on what is outside now."""
        return self.outside.complete(**given) if self.outside else dict(given)

    def _parameter(self, p: inspect.Parameter, hint: Any) -> Parameter:
        if p.default is p.empty:
            raise RegistryError(f"{self.kind} {self.name!r}: parameter {p.name!r} needs a default.")
        choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
        bounds = self.bounds.get(p.name, Bounds())
        return Parameter(p.name, type(p.default), choices, p.default, bounds)


@cache
def load() -> None:
    """Import the built-in generators, once. None of them imports an optional package here."""
    # Whole names: the code hash finds in them what a problem is made of.
    for module in (
        "mssbench.problems.synthetic",
        "mssbench.problems.pooled",
        "mssbench.problems.real",
        "mssbench.problems.changes",
        "mssbench.problems.files",
    ):
        importlib.import_module(module)


REGISTRIES: dict[Kind, Registry[Generator]] = {
    "problem": Registry("problem", load),
    "modifier": Registry("modifier", load),
}
Register: TypeAlias = Callable[[Callable[..., Floats]], Callable[..., Floats]]


def register_problem(
    *,
    cite: str,
    extra: str | None = None,
    bounds: Mapping[str, Bounds] | None = None,
    fixed_size: int | None = None,
    max_size: int | None = None,
    fits: Fits | None = None,
    sizes: str | None = None,
    repeated: bool = False,
    outside: Outside | None = None,
    samples: Callable[..., int] | None = None,
) -> Register:
    """Register `f(n, rng, *, <parameters>) -> (b, n, n)` under its own name.

    n: the size. rng: `Streams`, one stream per matrix, b = len(rng), the index of each matrix in
    rng.indices. The result is float64 and symmetric bit for bit, and matrix i must depend on
    its own stream and index only. Every parameter has a default; its type is the default's.

    cite: the source. extra: the optional group of packages it needs. bounds: of the numbers.
    fixed_size, max_size: the sizes there are; fits: (n, **parameters) -> the reason why a size
    does not exist, for any other rule; sizes: that rule in words. repeated: whether eigenvalues
    repeat, on which gradients fail that divide by their differences. outside: for matrices that
    are read and not generated. samples: (n, **parameters) -> how many samples a matrix is the
    covariance of, where it is one.
    """

    def decorate(call: Callable[..., Floats]) -> Callable[..., Floats]:
        rule, words = fits, sizes
        if fixed_size is not None:
            rule, words = _only(call.__name__, fixed_size), f"{fixed_size} only"
        elif max_size is not None:
            rule, words = _up_to(call.__name__, max_size), f"up to {max_size}"
        _add("problem", call, cite, extra, words or "any", rule, bounds, repeated, outside, samples)
        return call

    return decorate


def register_modifier(*, cite: str, bounds: Mapping[str, Bounds] | None = None) -> Register:
    """Register `f(master, rng, *, <parameters>) -> master`; master: (b, n, n), not written to."""

    def decorate(call: Callable[..., Floats]) -> Callable[..., Floats]:
        _add("modifier", call, cite, None, "any", None, bounds)
        return call

    return decorate


def _add(
    kind: Kind,
    call: Callable[..., Floats],
    cite: str,
    package: str | None,
    sizes: str,
    fits: Fits | None,
    bounds: Mapping[str, Bounds] | None,
    repeated: bool = False,
    outside: Outside | None = None,
    samples: Callable[..., int] | None = None,
) -> None:
    name, bounds = call.__name__, bounds or {}
    generator = Generator(
        kind, name, call, cite, package, sizes, fits, bounds, repeated, outside, samples
    )
    REGISTRIES[kind].add(generator)


def _only(name: str, size: int) -> Fits:
    def fits(n: int, **_: Any) -> str | None:
        return None if n == size else f"{name} exists at size {size} only"

    return fits


def _up_to(name: str, size: int) -> Fits:
    def fits(n: int, **_: Any) -> str | None:
        return None if n <= size else f"{name} exists up to size {size}"

    return fits


def lookup(kind: Kind, name: str) -> Generator:
    """Return the generator called `name`, importing the plug-in that offers it only now.

    Raises RegistryError for an unknown name, and NotInstalled for a plug-in that cannot be
    imported, whatever is wrong with it.
    """
    try:
        return REGISTRIES[kind].lookup(name)
    except RegistryError:
        if kind == "problem" and name in REGISTRIES["modifier"].known():
            raise RegistryError(f"{name!r} is a modifier: write problem|{name}(...).") from None
        raise


def spell(value: Any) -> str:
    """One readable spelling per value, which reads back as the same value: 1e6, 0.766, true."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    digits, e, exponent = short.partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if e else short.removesuffix(".0")
