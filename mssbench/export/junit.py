"""JUnit XML: a test case per row, so that a CI server lists what is broken."""

import re
from collections import Counter
from math import isfinite
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mssbench.export import Exported
from mssbench.records.measurement import ABSENT, MEASURED, Row, Status
from mssbench.results.labels import where

# What XML 1.0 cannot hold, and the controls that it advises against.
_ILLEGAL = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]"
)


def text(what: Exported) -> str:
    """Not ok but measured is a failure, crashed an error, absent skipped."""
    kinds = Counter(filter(None, (_kind(row) for row in what.rows)))
    counts = {"tests": str(len(what.rows)), "failures": str(kinds["failure"]),
              "errors": str(kinds["error"]), "skipped": str(kinds["skipped"])}  # fmt: skip
    root = Element("testsuites", counts)
    suite = SubElement(root, "testsuite", {"name": _clean(what.name), **counts})
    for row in what.rows:
        seconds = row["seconds_median"]
        names = {
            "classname": _clean(row["method"]),
            "name": _clean(where(row)),
            "time": f"{seconds if seconds is not None and isfinite(seconds) else 0:.9f}",
        }
        case = SubElement(suite, "testcase", names)
        if kind := _kind(row):
            words = {"message": _clean(f"{row['status']}: {row['reason']}")}
            SubElement(case, kind, words if kind == "skipped" else words | {"type": row["status"]})
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _kind(row: Row) -> str:
    status = Status(row["status"])
    if status is Status.OK:
        return ""
    if status in ABSENT or status is Status.INTERRUPTED:
        return "skipped"
    return "failure" if status in MEASURED else "error"


def _clean(text: str) -> str:
    return _ILLEGAL.sub("", text)
