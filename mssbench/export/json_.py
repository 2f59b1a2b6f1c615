"""Rows and facts as one JSON document."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from mssbench.export import Exported
from mssbench.records.schema import COLUMNS, SCHEMA_VERSION

# What terminals obey and JSON may hold as it is; and lone surrogates, which no file can hold.
_COMMANDS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def text(what: Exported) -> Iterator[str]:
    """{"name", "schema", "rows", "environments", "runs"}; infinite numbers are null."""
    head = {"name": what.name, "schema": SCHEMA_VERSION}
    yield from document(
        head, "rows", ({k: row[k] for k in COLUMNS} for row in what.rows), what.facts
    )


def document(
    before: Mapping[str, Any], key: str, members: Iterable[Any], after: Mapping[str, Any]
) -> Iterator[str]:
    """Yield one JSON object in pieces: some keys, a list with a line for each member, more keys."""
    yield json_text(before).removesuffix("\n}\n") + (",\n" if before else "\n")
    yield f' "{key}": '
    yield from listed(members)
    rest = json_text(after).removeprefix("{")
    yield f",{rest}" if after else "\n}\n"


def listed(members: Iterable[Any]) -> Iterator[str]:
    """Yield a JSON list in pieces, each member on a line of its own."""
    lead = "[\n  "
    for member in members:
        yield lead + line(member)
        lead = ",\n  "
    yield "[]" if lead.startswith("[") else "\n ]"


def line(what: Any) -> str:
    """Strict JSON on one line: null for the numbers that it has no word for."""
    try:
        found = json.dumps(what, allow_nan=False, ensure_ascii=False)
    except ValueError:  # it has such a number, which few rows have
        found = json.dumps(finite(what), allow_nan=False, ensure_ascii=False)
    return escaped(found)


def json_text(what: Any, indent: int = 1) -> str:
    """Strict JSON: null for the numbers that it has no word for."""
    text = json.dumps(finite(what), indent=indent, allow_nan=False, ensure_ascii=False)
    return f"{escaped(text)}\n"


def escaped(text: str) -> str:
    """The same JSON, in which what a terminal would obey is written by its number."""
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return _COMMANDS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def finite(what: Any) -> Any:
    """The same, with None for what is infinite or no number."""
    if isinstance(what, dict):
        return {k: finite(v) for k, v in what.items()}
    if isinstance(what, list | tuple):
        return [finite(v) for v in what]
    return None if isinstance(what, float) and not isfinite(what) else what
