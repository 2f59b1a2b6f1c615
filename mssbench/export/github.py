"""What GitHub shows of a comparison: the step's summary, annotations, and outputs for later steps.

The texts of methods and reasons are not trusted. A line break would end an annotation, and a second
command could follow; a known delimiter would do the same in an output. Both are escaped.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mssbench import units
from mssbench.compare.judgement import Judged, Judgement
from mssbench.compare.verdict import QUIET, Outcome, Verdict
from mssbench.errors import MssbenchError, NotComparable, RunError
from mssbench.export.markdown import RULE, escaped, row_of
from mssbench.results.labels import where

# The level of the annotation for a verdict, most urgent first.
_LEVEL = {
    Verdict.BROKEN: "error",
    Verdict.GONE: "error",
    Verdict.WORSE: "error",
    Verdict.SLOWER: "error",
    Verdict.UNCLEAR: "warning",
    Verdict.INCOMPARABLE: "warning",
}
_MOST = 10  # annotations: GitHub shows no more for one step
_MOST_ROWS = 200  # in the summary, which GitHub limits to one MiB


def annotations(title: str, judgements: Sequence[Judgement]) -> Iterator[str]:
    """`::error title=...::message` lines for the rows that failed, most urgent first."""
    loud = sorted((each for each in judgements if each.verdict in _LEVEL), key=_urgency)
    for each in loud[:_MOST]:
        name = _property(f"{title}: {each.verdict}")
        yield f"::{_LEVEL[each.verdict]} title={name}::{_message(_sentence(each))}"

    if len(loud) > _MOST:
        yield f"::warning title={_property(title)}::and {len(loud) - _MOST} more rows"


def _urgency(judgement: Judgement) -> int:
    return list(_LEVEL).index(judgement.verdict)


def _sentence(judgement: Judgement) -> str:
    row = judgement.pair.row
    return f"{row['method']}, {where(row)}: {judgement.reason}"


def _message(text: str) -> str:
    shown = units.harmless(text.replace("\r", "\n"))
    return shown.replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def summary(title: str, judged: Judged) -> str:
    """Markdown: the outcome, how many rows have each verdict, and a table of those that changed."""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(judged.verdicts.items()))
    lines = [f"### {escaped(title)}: {judged.outcome}", "", counts or "no row", ""]
    for remark in (*judged.doubts, *judged.remarks):
        lines += [escaped(remark), ""]

    loud = [each for each in judged.judgements if each.verdict not in QUIET]
    if loud:
        head = ["verdict", "method", "where", "base", "new", "ratio", "why"]
        lines += [row_of(head), row_of([RULE] * len(head))]
    lines += [_summary_row(each) for each in loud[:_MOST_ROWS]]

    if len(loud) > _MOST_ROWS:
        lines += ["", f"and {units.count(len(loud) - _MOST_ROWS, 'more row')}"]
    return "\n".join(lines) + "\n"


def _summary_row(judgement: Judgement) -> str:
    row = judgement.pair.row
    base, new = map(units.seconds, judgement.seconds)
    ratio = units.ratio(judgement.ratio) if judgement.ratio is not None else "-"
    return row_of([judgement.words, row["method"], where(row), base, new, ratio, judgement.reason])


def report(title: str, judged: Judged, code: int) -> list[str]:
    """Write summary and outputs where GitHub asks for them; return the annotations to be printed.

    code: the exit code of the process. Outside of GitHub nothing is written.
    """
    failed = [each for each in judged.judgements if each.verdict in _LEVEL]
    values = {"verdict": str(judged.outcome), "exit_code": str(code)}
    values |= {str(verdict): str(judged.verdicts.get(verdict, 0)) for verdict in Verdict}
    values["reasons"] = "\n".join(map(_sentence, failed))
    _write(summary(title, judged), values)

    head = f"::warning title={_property(f'{title}: {judged.outcome}')}::"
    doubts = [head + _message(doubt) for doubt in judged.doubts]
    return [*annotations(title, judged.judgements), *doubts]


def refused(title: str, error: MssbenchError) -> list[str]:
    """The same where an error prevented the comparison."""
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
            try:
                with Path(path).open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text)
            except OSError as error:
                raise RunError(
                    f"{name}: {path} cannot be written: {error.strerror or error}."
                ) from None


def _output(name: str, value: str) -> str:
    """One output, between delimiters that nobody could have guessed."""
    mark = f"mssbench_{secrets.token_hex(16)}"
    return f"{name}<<{mark}\n{value}\n{mark}\n"
