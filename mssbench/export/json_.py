"""Rows and facts as one JSON document."""

import json
import re
from math import isfinite
from typing import Any

from mssbench.export import Exported
from mssbench.records.schema import COLUMNS, SCHEMA_VERSION

# What terminals obey and JSON may hold as it is; and lone surrogates, which no file can hold.
_COMMANDS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def text(what: Exported) -> str:
    """{"name", "schema", "rows", "environments", "runs"}; infinite numbers are null."""
    found = {
        "name": what.name,
        "schema": SCHEMA_VERSION,
        "rows": [{k: row[k] for k in COLUMNS} for row in what.rows],
        **what.facts,
    }
    return json_text(found)


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
