"""Checks made when a generator is registered, so that mistakes are reported before a run."""

import math
from typing import Any

import numpy as np

from mssbench.errors import RegistryError, unknown
from mssbench.problems.generator import Bounds, Generator
from mssbench.registries import TYPES_OF_VALUES

# The size with which the functions `fits` and `samples` are called as a check. Most problems exist
# at this size; for one that does not, `samples` is not called.
_A_SIZE = 64


def check(generator: Generator) -> None:
    """Raise RegistryError for a problem generator (or modifier) that no suite could use.

    Its parameters must have defaults that a suite can contain and that lie within their bounds,
    every bound must belong to a parameter, and it must be possible to call the functions `fits` and
    `samples` with the defaults.
    """
    who = f"{generator.kind} {generator.name!r}"
    try:
        parameters = generator.parameters
    except RegistryError:
        raise
    except Exception as error:  # resolving the type hints of a plug-in may fail in any way
        raise RegistryError(f"{who}: its type hints cannot be resolved: {error}.") from error

    _check_bounds(generator)
    for p in parameters.values():
        if p.type not in TYPES_OF_VALUES:
            raise RegistryError(
                f"{who}: parameter {p.name!r} has the default {p.default!r}. Give it a number, a "
                "word, true or false."
            )
        if not all(isinstance(choice, str) for choice in p.choices):
            raise RegistryError(
                f"{who}: parameter {p.name!r} may be {p.choices}, and only words can be choices. "
                "Leave Literal away, and give bounds for a number."
            )
        if p.choices and p.default not in p.choices:
            raise RegistryError(f"{who}: {unknown(f'default of {p.name}', p.default, p.choices)}")
        _check_default(who, p.name, p.default, p.bounds)

    _check_functions(generator, {name: p.default for name, p in parameters.items()})


def _check_bounds(generator: Generator) -> None:
    who = f"{generator.kind} {generator.name!r}"
    for name, bounds in generator.bounds.items():
        if name not in generator.parameters:
            hint = unknown("parameter", name, generator.parameters)
            raise RegistryError(f"{who} has bounds for a parameter that it does not take. {hint}")

        if not isinstance(bounds, Bounds):
            raise RegistryError(
                f"{who}: the bounds of {name} are {bounds!r}. Write Bounds(low, high)."
            )


def _check_default(who: str, name: str, default: Any, bounds: Bounds) -> None:
    if isinstance(default, str | bool):
        return
    if not math.isfinite(default):
        raise RegistryError(f"{who}: the default of {name} is {default}, which is not finite.")
    if complaint := bounds.complaint(default):
        raise RegistryError(f"{who}: the default of {name} is {default!r} and {complaint}.")


def _check_functions(generator: Generator, defaults: dict[str, Any]) -> None:
    """Raise RegistryError if the functions `fits` and `samples` fail with the defaults."""
    who = f"{generator.kind} {generator.name!r}"
    for argument, function, returns in (
        ("fits", generator.fits, "the reason why there is no n by n matrix, or None if there is"),
        ("samples", generator.samples, "the number of samples, a whole number"),
    ):
        if function is not None and not callable(function):
            raise RegistryError(
                f"{who}: {argument} = {function!r} is not a function. It must be a function of n "
                f"and the parameters that returns {returns}."
            )

    # A source outside, such as a file, is not known yet.
    if generator.outside is not None:
        return
    reason = generator.check_size(_A_SIZE, defaults)
    if generator.samples is None or reason is not None:
        return

    try:
        count = generator.samples(_A_SIZE, **defaults)
    except Exception as error:  # the function of a plug-in may fail in any way
        failure = f"{type(error).__name__}: {error}"
        raise RegistryError(f"{who}: samples({_A_SIZE}) fails: {failure}") from error
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise RegistryError(f"{who}: samples({_A_SIZE}) gave {count!r}, not a whole number.")
