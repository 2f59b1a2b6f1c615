"""Problem generators and modifiers by name.

A plugin or a user's file registers a generator exactly as the built-in modules do.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from mssbench.errors import RegistryError
from mssbench.problems import registration
from mssbench.problems.generator import Bounds, Fits, Generator, Kind, Outside
from mssbench.problems.rng import Floats
from mssbench.registries import Registry, check_function


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
        check_function("problem", call)
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
        check_function("modifier", call)
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
    generator = Generator(
        kind,
        call.__name__,
        call,
        cite,
        package,
        sizes,
        fits,
        bounds or {},
        repeated,
        outside,
        samples,
    )
    registration.check(generator)
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
