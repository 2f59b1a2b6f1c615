"""What GitHub shows of a verdict: the step's summary, annotations, and outputs for later steps.

Texts of methods and reasons come from anywhere. In an annotation a line break would end it and a
second command could follow; in an output so would a known delimiter: both are escaped.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mssbench import units
from mssbench.compare.rows import Change
from mssbench.compare.verdict import QUIET, Outcome, Verdict
from mssbench.errors import MssbenchError, NotComparable
from mssbench.export.markdown import escaped, row_of
from mssbench.results.labels import where


class Found(Protocol):
    """What a comparison of any kind came to."""

    @property
    def outcome(self) -> Outcome:
        """The verdict of all of it."""

    @property
    def verdicts(self) -> Mapping[str, int]:
        """How many rows of each."""

    @property
    def changes(self) -> Sequence[Change]:
        """Of every row."""

    @property
    def remarks(self) -> Sequence[str]:
        """What was not compared, and what else a reader should know."""


_LEVEL = {
    Verdict.BROKEN: "error", Verdict.GONE: "error", Verdict.WORSE: "error",
    Verdict.SLOWER: "error", Verdict.UNCLEAR: "warning", Verdict.INCOMPARABLE: "warning",
}  # fmt: skip
_MOST = 10  # annotations: GitHub shows no more of a step
_MOST_ROWS = 200  # of the summary, which may have a MiB


def annotations(title: str, changes: Sequence[Change]) -> Iterator[str]:
    """`::error title=...::message` lines for what failed, most urgent first."""
    loud = sorted((c for c in changes if c.verdict in _LEVEL), key=_urgency)
    for c in loud[:_MOST]:
        name = _property(f"{title}: {c.verdict}")
        yield f"::{_LEVEL[c.verdict]} title={name}::{_message(_sentence(c))}"
    if len(loud) > _MOST:
        yield f"::warning title={_property(title)}::and {len(loud) - _MOST} more rows"


def _urgency(c: Change) -> int:
    return list(_LEVEL).index(c.verdict)


def _sentence(c: Change) -> str:
    return f"{c.pair.row['method']}, {where(c.pair.row)}: {c.reason}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def summary(title: str, found: Found, doubts: Sequence[str] = ()) -> str:
    """Markdown: the verdict, how many rows of each, and a table of those that changed."""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(found.verdicts.items()))
    lines = [f"### {escaped(title)}: {found.outcome}", "", counts or "no row", ""]
    for remark in (*doubts, *found.remarks):
        lines += [escaped(remark), ""]
    loud = [c for c in found.changes if c.verdict not in QUIET]
    if loud:
        lines += [row_of(["verdict", "method", "where", "base", "new", "ratio", "why"]),
                  row_of(["---"] * 7)]  # fmt: skip
    for c in loud[:_MOST_ROWS]:
        base, new = map(units.seconds, c.seconds)
        ratio = units.ratio(c.ratio) if c.ratio is not None else "-"
        row = c.pair.row
        lines.append(
            row_of([str(c.verdict), row["method"], where(row), base, new, ratio, c.reason])
        )
    if len(loud) > _MOST_ROWS:
        lines += ["", f"and {units.count(len(loud) - _MOST_ROWS, 'more row')}"]
    return "\n".join(lines) + "\n"


def report(title: str, found: Found, code: int, doubts: Sequence[str] = ()) -> list[str]:
    """Write summary and outputs where GitHub asks for them; the annotations, to be printed.

    code: of the process. doubts: why times of it may not be trusted.

    Outside of GitHub nothing is written, and the annotations are all there is.
    """
    values = {"verdict": str(found.outcome), "exit_code": str(code)}
    values |= {str(v): str(found.verdicts.get(v, 0)) for v in Verdict}
    values["reasons"] = "\n".join(_sentence(c) for c in found.changes if c.verdict in _LEVEL)
    _write(summary(title, found, doubts), values)
    head = f"::warning title={_property(f'{title}: {found.outcome}')}::"
    return [*annotations(title, found.changes), *(head + _message(doubt) for doubt in doubts)]


def refused(title: str, error: MssbenchError) -> list[str]:
    """The same where nothing was compared, and why."""
    verdict = str(Outcome.INCOMPARABLE) if isinstance(error, NotComparable) else "misuse"
    values = {"verdict": verdict, "exit_code": str(error.exit_code), "reasons": str(error)}
    _write(f"### {escaped(title)}: {verdict}\n\n{escaped(str(error))}\n", values)
    return [f"::error title={_property(f'{title}: {verdict}')}::{_message(str(error))}"]


def _write(summary: str, outputs: Mapping[str, str]) -> None:
    texts = {
        "GITHUB_STEP_SUMMARY": summary,
        "GITHUB_OUTPUT": "".join(_output(*item) for item in outputs.items()),
    }
    for name, text in texts.items():
        if path := os.environ.get(name):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(text)


def _output(name: str, value: str) -> str:
    """One output, between delimiters that nobody could have guessed."""
    mark = f"mssbench_{secrets.token_hex(16)}"
    return f"{name}<<{mark}\n{value}\n{mark}\n"
