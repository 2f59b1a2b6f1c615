"""Checks made when a method is registered, so that mistakes are reported before anything runs."""

from collections.abc import Collection, Mapping
from typing import Any

from mssbench.arrays import LIBRARIES, STORAGE
from mssbench.errors import RegistryError, unknown
from mssbench.methods.method import Method, MethodKind, Root
from mssbench.registries import TYPES_OF_VALUES

_WORDS: dict[str, Collection[str]] = {
    "yields": Root._fields,
    "reads": Root._fields,
    "libraries": LIBRARIES,
    "precisions": tuple(STORAGE),
    "devices": ("cpu", "cuda"),
}


def check_words(kind: MethodKind, name: str, given: Mapping[str, Collection[str]]) -> None:
    """Raise RegistryError for an unknown word in an argument of a decorator.

    given: maps the name of each argument to its words.
    """
    for argument, words in given.items():
        if isinstance(words, str):
            raise RegistryError(
                f"{kind} {name!r}: {argument} = {words!r} is one word. Write ({words!r},)."
            )

        for word in words:
            if word not in _WORDS[argument]:
                role = f"word in {argument} of {name}"
                raise RegistryError(f"{kind} {unknown(role, word, _WORDS[argument])}")


def check(method: Method) -> None:
    """Raise RegistryError if suites cannot set a parameter, or the declared cost is no number."""
    who = f"{method.kind} {method.name!r}"
    try:
        parameters = method.parameters
    except RegistryError:
        raise
    except Exception as error:  # resolving the type hints of a plugin may fail in any way
        raise RegistryError(f"{who}: its type hints cannot be resolved: {error}.") from error

    for p in parameters.values():
        if type(p.default) not in TYPES_OF_VALUES and p.default not in p.words:
            raise RegistryError(
                f"{who}: parameter {p.name!r} has the default {p.default!r}. Give it a number, a "
                "word, true or false."
            )
        if p.choices and p.default not in p.choices:
            words = [str(choice) for choice in p.choices]
            raise RegistryError(f"{who}: {unknown(f'default of {p.name}', p.default, words)}")

    _check_cost(method, {name: p.default for name, p in parameters.items()})


def _check_cost(method: Method, defaults: Mapping[str, Any]) -> None:
    who, products = f"{method.kind} {method.name!r}", method.products
    if not callable(products):
        raise RegistryError(
            f"{who}: products = {products!r} is not a function. "
            f"Write products=lambda **_: {products!r}."
        )

    try:
        cost = method.cost(defaults)
    except Exception as error:  # the function of a plugin may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise RegistryError(
            f"{who}: products(**parameters) fails with the defaults: {reason}"
        ) from error

    if isinstance(cost, bool) or not isinstance(cost, int | float):
        raise RegistryError(f"{who}: products gave {cost!r}, which is not a number of products.")
