"""A generator of problems, or a modifier, as it is registered, and what may be asked of it."""

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
    describe(batches, precisions, **parameters) -> what was read, as one line for the user who
    measures it in these sizes of batch and these precisions.
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
        swept = swept_parameters(self.call)
        hints = hints_of(self.call, swept)
        return {name: self._parameter(p, hints.get(name)) for name, p in swept.items()}

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.call) or "").partition("\n")[0]

    def check_size(self, n: int, given: Mapping[str, Any]) -> str | None:
        """Why there is no n by n matrix with these parameters; None if there is.

        Raises RegistryError if the function `fits` of a user or plug-in fails, or gives no text.
        """
        try:
            reason = self.fits(n, **given) if self.fits else None
        except (MssbenchError, Unsupported, NotInstalled, Unavailable):
            raise
        except Exception as error:  # the function of a user may fail in any way
            what = f"{type(error).__name__}: {error}"
            raise RegistryError(f"{self.kind} {self.name!r}: fits({n}) fails: {what}") from error
        if reason is not None and not isinstance(reason, str):
            raise RegistryError(
                f"{self.kind} {self.name!r}: fits({n}) gave {reason!r}. It must give the reason "
                "why there is no such size, or None."
            )
        return reason

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, with those filled in that depend on what is outside now."""
        return self.outside.complete(**given) if self.outside else dict(given)

    def _parameter(self, p: inspect.Parameter, hint: Any) -> Parameter:
        if p.default is p.empty:
            raise RegistryError(f"{self.kind} {self.name!r}: parameter {p.name!r} needs a default.")
        choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
        bounds = self.bounds.get(p.name, Bounds())
        return Parameter(p.name, type(p.default), choices, p.default, bounds)


def spell(value: Any) -> str:
    """One readable spelling per value, which reads back as the same value: 1e6, 0.766, true."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    digits, e, exponent = short.partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if e else short.removesuffix(".0")
