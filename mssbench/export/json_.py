"""Export to JSON: rows and facts as one strict JSON document; helpers for JSON texts."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from mssbench.export import Exported
from mssbench.records.schema import COLUMNS, SCHEMA_VERSION

# Characters that JSON allows unescaped but that control a terminal or the direction of text, and
# lone surrogates, which cannot be encoded in UTF-8.
_COMMANDS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def text(what: Exported) -> Iterator[str]:
    """Yield one JSON object in pieces, with the keys name, schema, rows, environments and runs.

    Infinite numbers and NaN are null.
    """
    head = {"name": what.name, "schema": SCHEMA_VERSION}
    yield from document(
        head, "rows", ({k: row[k] for k in COLUMNS} for row in what.rows), what.facts
    )


def document(
    before: Mapping[str, Any], key: str, members: Iterable[Any], after: Mapping[str, Any]
) -> Iterator[str]:
    """Yield one JSON object in pieces.

    It has the keys of `before`, then the key `key` with the list `members`, one on each line, then
    the keys of `after`.
    """
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
    """Return a value as strict JSON on one line; infinite numbers and NaN are null."""
    try:
        text = json.dumps(what, allow_nan=False, ensure_ascii=False)
    except ValueError:  # there is a non-finite number; replacing them always would be slower
        text = json.dumps(finite(what), allow_nan=False, ensure_ascii=False)
    return escaped(text)


def json_text(what: Any, indent: int = 1) -> str:
    """Return a value as strict JSON on several lines; infinite numbers and NaN are null."""
    text = json.dumps(finite(what), indent=indent, allow_nan=False, ensure_ascii=False)
    return f"{escaped(text)}\n"


def escaped(text: str) -> str:
    r"""Return a JSON text with the characters that control a terminal written as `\uXXXX`."""
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return _COMMANDS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def finite(what: Any) -> Any:
    """Return a copy of a value with None in place of infinite numbers and NaN, at any depth."""
    if isinstance(what, dict):
        return {k: finite(v) for k, v in what.items()}
    if isinstance(what, list | tuple):
        return [finite(v) for v in what]
    return None if isinstance(what, float) and not isfinite(what) else what
