"""The record of a registered problem generator or modifier, with its parameters and bounds."""

import inspect
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from mssbench.errors import MssbenchError, NotInstalled, RegistryError, Unavailable, Unsupported
from mssbench.problems.rng import Floats
from mssbench.registries import hints_of, swept_parameters

GeneratorKind: TypeAlias = Literal["problem", "modifier"]
Fits: TypeAlias = Callable[..., str | None]


class Bounds(NamedTuple):
    """The values a number may take: low < x or low <= x, and x <= high."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False  # low itself is excluded

    def complaint(self, value: float) -> str | None:
        """Return why `value` is out of range, as the end of a sentence, or None if it is not."""
        if not (value > self.low if self.open else value >= self.low):
            return f"must be {'greater than' if self.open else 'at least'} {spell(self.low)}"
        if value > self.high:
            return f"must be at most {spell(self.high)}"
        return None


class OutsideSource(NamedTuple):
    """Functions of a problem whose matrices are not generated but read, for example from a file.

    complete(**parameters) -> all parameters, including those that identify the present contents of
    the source, such as a digest.
    cotangent(n, rng, **parameters) -> (b, n, n), or None if the source has no cotangents.
    describe(batches, precisions, **parameters) -> one line about the data, for a user who measures
    it with these batch sizes and precisions.
    lacked(reason, **parameters) -> whether the reason why a cell was refused is that the source was
    missing or had changed, which the user can correct.
    """

    complete: Callable[..., dict[str, Any]]
    cotangent: Callable[..., Floats | None]
    describe: Callable[..., str]
    lacked: Callable[..., bool]


class GeneratorParameter(NamedTuple):
    """A keyword-only argument of a generator, which the text of a problem can set."""

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
        """Return name, default and choices: `ratio=0.766`, `image=grass (brick|grass|...)`."""
        choices = f" ({'|'.join(self.choices)})" if self.choices else ""
        return f"{self.name}={spell(self.default)}{choices}"


@dataclass(frozen=True)
class Generator:
    """A registered problem generator or modifier: its function and its declared properties."""

    kind: GeneratorKind
    name: str
    call: Callable[..., Floats]
    cite: str
    package: str | None  # the pip extra that it needs, such as "data"
    sizes: str  # the available sizes in words: "any", "30 or 13"
    fits: Fits | None  # (n, **parameters) -> why a size does not exist, or None if it does
    bounds: Mapping[str, Bounds] = field(repr=False)
    repeated: bool = False  # whether eigenvalues are equal, exactly or up to noise
    outside: OutsideSource | None = None  # for matrices that are read rather than generated
    samples: Callable[..., int] | None = None  # (n, **parameters) -> M of a covariance X Xᵀ / M

    @cached_property
    def parameters(self) -> dict[str, GeneratorParameter]:
        """The parameters by name, in the order of the signature."""
        swept = swept_parameters(self.call)
        hints = hints_of(self.call, swept)
        return {name: self._parameter(p, hints.get(name)) for name, p in swept.items()}

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.call) or "").partition("\n")[0]

    def check_size(self, n: int, given: Mapping[str, Any]) -> str | None:
        """Return why there is no n by n matrix with these parameters, or None if there is.

        Raises RegistryError if the function `fits` fails, or returns neither a text nor None.
        """
        try:
            reason = self.fits(n, **given) if self.fits else None
        except (MssbenchError, Unsupported, NotInstalled, Unavailable):
            raise
        except Exception as error:  # the function of a user may fail in any way
            failure = f"{type(error).__name__}: {error}"
            raise RegistryError(f"{self.kind} {self.name!r}: fits({n}) fails: {failure}") from error

        if reason is not None and not isinstance(reason, str):
            raise RegistryError(
                f"{self.kind} {self.name!r}: fits({n}) gave {reason!r}. It must give the reason "
                "why there is no such size, or None."
            )

        return reason

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, including those that depend on an outside source."""
        return self.outside.complete(**given) if self.outside else dict(given)

    def _parameter(self, p: inspect.Parameter, hint: Any) -> GeneratorParameter:
        if p.default is p.empty:
            raise RegistryError(f"{self.kind} {self.name!r}: parameter {p.name!r} needs a default.")
        choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
        bounds = self.bounds.get(p.name, Bounds())
        return GeneratorParameter(p.name, type(p.default), choices, p.default, bounds)


def spell(value: Any) -> str:
    """Return the canonical text of a parameter's value, such as 1e6, 0.766 or true.

    The parser of problem texts reads it as the same value.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)

    short = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    digits, e, exponent = short.partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if e else short.removesuffix(".0")
