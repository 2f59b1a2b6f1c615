"""Rows and facts as one JSON document."""

import json
from math import isfinite
from typing import Any

from mssbench.export import Exported
from mssbench.records import COLUMNS, SCHEMA_VERSION


def text(what: Exported) -> str:
    """{"name", "schema", "rows", "environments", "runs"}; infinite numbers are null."""
    found = {
        "name": what.name,
        "schema": SCHEMA_VERSION,
        "rows": [{k: _finite(row[k]) for k in COLUMNS} for row in what.rows],
        **what.facts,
    }
    return json.dumps(found, indent=1, allow_nan=False, default=str, ensure_ascii=False) + "\n"


def _finite(x: Any) -> Any:
    return None if isinstance(x, float) and not isfinite(x) else x
