"""The registry of problem generators and modifiers, with the decorators that register them.

A plugin or a user's file registers a generator in the same way as the built-in modules.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from mssbench.errors import RegistryError
from mssbench.problems import registration
from mssbench.problems.generator import Bounds, Fits, Generator, GeneratorKind, OutsideSource
from mssbench.problems.rng import Floats
from mssbench.registries import Registry, check_function


@cache
def load() -> None:
    """Import the built-in generators, once. None of them imports an optional package yet."""
    # Written as full names, because the code hash follows names of modules in strings.
    for module in (
        "mssbench.problems.synthetic",
        "mssbench.problems.pooled",
        "mssbench.problems.real",
        "mssbench.problems.stored",
        "mssbench.problems.changes",
        "mssbench.problems.files",
    ):
        importlib.import_module(module)


REGISTRIES: dict[GeneratorKind, Registry[Generator]] = {
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
    outside: OutsideSource | None = None,
    samples: Callable[..., int] | None = None,
) -> Register:
    """Register `f(n, rng, *, <parameters>) -> (b, n, n)` as a problem under its own name.

    Arguments of the registered function:

    n: the size.
    rng: `Streams`, with one stream per matrix, b = len(rng), and the indices of the matrices in
    rng.indices. The result must be float64 and symmetric bit for bit, and matrix i may depend on
    its own stream and index only. Every parameter has a default, whose type is the parameter's.

    Arguments of the decorator:

    cite: the source.
    extra: the optional group of packages that it needs.
    bounds: the bounds of the numerical parameters.
    fixed_size, max_size: the only size, or the largest one.
    fits: (n, **parameters) -> the reason why a size does not exist, or None, for any other rule.
    sizes: that rule in words.
    repeated: whether eigenvalues are repeated, for which gradients fail that divide by differences.
    outside: functions for matrices that are read rather than generated.
    samples: (n, **parameters) -> the number of samples, if each matrix is a covariance.
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
    """Register `f(master, rng, *, <parameters>) -> master` as a modifier under its own name.

    master: (b, n, n), float64. The function must return a new array and not write to this one.
    """

    def decorate(call: Callable[..., Floats]) -> Callable[..., Floats]:
        check_function("modifier", call)
        _add("modifier", call, cite, None, "any", None, bounds)
        return call

    return decorate


def _add(
    kind: GeneratorKind,
    call: Callable[..., Floats],
    cite: str,
    package: str | None,
    sizes: str,
    fits: Fits | None,
    bounds: Mapping[str, Bounds] | None,
    repeated: bool = False,
    outside: OutsideSource | None = None,
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


def lookup(kind: GeneratorKind, name: str) -> Generator:
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
