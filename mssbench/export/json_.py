"""Rows and facts as one JSON document."""

from mssbench.export import Exported
from mssbench.records import COLUMNS, SCHEMA_VERSION
from mssbench.strict_json import json_text


def text(what: Exported) -> str:
    """{"name", "schema", "rows", "environments", "runs"}; infinite numbers are null."""
    found = {
        "name": what.name,
        "schema": SCHEMA_VERSION,
        "rows": [{k: row[k] for k in COLUMNS} for row in what.rows],
        **what.facts,
    }
    return json_text(found)
