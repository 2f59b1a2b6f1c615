"""Export to JUnit XML: one test case for each row, so that a CI server lists broken rows."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from math import isfinite
from xml.sax.saxutils import quoteattr

from mssbench.export import Exported
from mssbench.records.measurement import ABSENT, MEASURED, AnyRow, Status
from mssbench.results.labels import where

# Characters that XML 1.0 does not allow, and control characters that it discourages.
_ILLEGAL = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]"
)


def text(what: Exported) -> Iterator[str]:
    """Yield the XML of all rows in pieces.

    A row that was measured and is not ok becomes a `failure`, a crash and the like an `error`, and
    a row that could not be measured is `skipped`.
    """
    kinds = Counter(filter(None, map(_kind, what.rows)))
    counts = {
        "tests": str(len(what.rows)),
        "failures": str(kinds["failure"]),
        "errors": str(kinds["error"]),
        "skipped": str(kinds["skipped"]),
    }

    yield '<?xml version="1.0" encoding="utf-8"?>\n'
    yield f"<testsuites{_attributes(counts)}>\n"
    yield f"  <testsuite{_attributes({'name': what.name, **counts})}>\n"
    for row in what.rows:
        yield from _case(row)
    yield "  </testsuite>\n</testsuites>\n"


def _case(row: AnyRow) -> Iterator[str]:
    """Yield the lines of the test case of one row."""
    seconds = row["seconds_median"]
    known = seconds if seconds is not None and isfinite(seconds) else 0
    names = {"classname": row["method"], "name": where(row), "time": f"{known:.9f}"}

    kind = _kind(row)
    yield f"    <testcase{_attributes(names)}{'>' if kind else ' />'}\n"
    if kind:
        words = {"message": f"{row['status']}: {row['reason']}"}
        words |= {} if kind == "skipped" else {"type": row["status"]}
        yield f"      <{kind}{_attributes(words)} />\n    </testcase>\n"


def _attributes(words: Mapping[str, str]) -> str:
    """Return quoted XML attributes, each with a blank before it."""
    return "".join(f" {name}={quoteattr(_clean(word))}" for name, word in words.items())


def _kind(row: AnyRow) -> str:
    """Return the name of the JUnit element for the status of a row; empty if it is ok."""
    status = Status(row["status"])
    if status is Status.OK:
        return ""
    if status in ABSENT or status is Status.INTERRUPTED:
        return "skipped"
    return "failure" if status in MEASURED else "error"


def _clean(text: str) -> str:
    """Return the text without characters that XML does not allow."""
    return _ILLEGAL.sub("", text)
