"""Parser for the texts that name problems, and their canonical spelling.

    wishart(ratio=0.766)                        a generator with its parameters
    logspec(condition=1e6)|scale(factor=1e-6)   a generator whose matrices a modifier changes

    file(path=my cov %28new%29.npy)             a parameter with free text, see `quoted`

Nothing is evaluated: a value is a number, true, false, one of the words of a parameter, or free
text.
"""

import math
import re
import urllib.parse
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from mssbench.errors import RegistryError, unknown
from mssbench.problems.generator import Generator, GeneratorKind, GeneratorParameter, spell
from mssbench.problems.registry import lookup


class Term(NamedTuple):
    """One term of the text that names a problem: a generator or a modifier, with its parameters.

    A generator makes matrices; a modifier changes those of the terms before it. `given` has a value
    for every parameter, which is the default where the text has none.
    """

    generator: Generator
    given: dict[str, Any]

    def spelling(self) -> str:
        """Return the canonical text, `wishart(ratio=0.766)`; an empty free text is left out."""
        parameters = self.generator.parameters
        given = ", ".join(
            f"{name}={quoted(value) if parameters[name].is_free_text else spell(value)}"
            for name, value in self.given.items()
            if not (parameters[name].is_free_text and value == "")
        )
        return f"{self.generator.name}({given})" if given else self.generator.name


# Characters that would end a value, since `_TERM`, `parse` and `--set` split at them, and the
# percent sign, which escapes them.
_SPECIAL = re.compile(r"[%()|,='\"\x00-\x1f\x7f]|^\s|\s$")


def quoted(text: str) -> str:
    """Escape the special characters of a free text as in a URL, for example `(` as %28."""
    return _SPECIAL.sub(lambda match: urllib.parse.quote(match[0], safe=""), text)


_TERM = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*", re.ASCII)


@lru_cache(maxsize=1 << 14)
def parse(text: str) -> tuple[Term, ...]:
    """Return the generator and the modifiers that the text of a problem names.

    Their parameters are checked, and those that the text does not set have their defaults. Raises
    RegistryError for a text that cannot be parsed, an unknown name, for which it suggests the
    nearest known one, or an invalid value.
    """
    matches = [_TERM.fullmatch(term) for term in text.split("|")]
    if not all(matches):
        raise RegistryError(
            f"Cannot read problem {text!r}: write name(parameter=value, ...), "
            "then |modifier(...) for each change."
        )

    terms = enumerate(match for match in matches if match)
    return tuple(_call("modifier" if i else "problem", m[1], m[2] or "") for i, m in terms)


def _call(kind: GeneratorKind, name: str, arguments: str) -> Term:
    generator = lookup(kind, name)
    known, given = generator.parameters, {}
    for position, argument in enumerate(arguments.split(",") if arguments.strip() else ()):
        left, equals, right = (part.strip() for part in argument.partition("="))
        key, value = (left, right) if equals else (next(iter(known), left), left)

        if not equals and position > 0:
            raise RegistryError(
                f"{kind} {name!r}: write {argument.strip()!r} as parameter=value; "
                "only the first may stand without its name."
            )
        if key not in known:
            raise RegistryError(_takes_no(generator, key))
        if key in given:
            raise RegistryError(f"{kind} {name!r}: {key} is given twice.")
        given[key] = _value(generator, known[key], value)

    return Term(generator, {key: given.get(key, p.default) for key, p in known.items()})


def _takes_no(generator: Generator, key: str) -> str:
    who = f"{generator.kind} {generator.name!r} takes no {key!r}"
    if not generator.parameters:
        return f"{who}: it has no parameters."
    return f"{who}. {unknown('parameter', key, generator.parameters)}"


def _value(generator: Generator, p: GeneratorParameter, text: str) -> Any:
    who = f"{generator.kind} {generator.name!r}: {p.name} = "
    text = text.strip("'\"")
    if p.choices:
        if text not in p.choices:
            raise RegistryError(unknown(f"{p.name} of {generator.name}", text, p.choices))
        return text
    if p.is_free_text:
        return urllib.parse.unquote(text)

    value = _READ[p.type](text)
    if value is None:
        raise RegistryError(f"{who}{text!r} is not {_MEANING[p.type]}.")

    complaint = None if isinstance(value, bool) else p.bounds.complaint(value)
    if complaint:
        raise RegistryError(f"{who}{spell(value)} {complaint}.")
    return value


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value + 0.0 if math.isfinite(value) else None  # + 0.0 turns -0.0 into 0.0


def _int(text: str) -> int | None:
    value = _float(text)
    return int(value) if value is not None and value == int(value) else None


_READ: dict[type, Callable[[str], Any]] = {
    float: _float,
    int: _int,
    bool: lambda text: {"true": True, "false": False}.get(text.lower()),
}
_MEANING = {float: "a number", int: "a whole number", bool: "true or false"}
