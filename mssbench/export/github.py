"""Report a comparison to GitHub Actions: job summary, annotations, and outputs for later steps.

An annotation is a line that GitHub shows beside the job, with a judgement: the verdict on one row.
The names of methods and the reasons are untrusted texts. A line break in an annotation could inject
a second workflow command, so line breaks are escaped. A known delimiter could do the same in an
output, so delimiters are random.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mssbench.compare.judgement import Judged, Judgement
from mssbench.compare.verdict import QUIET, Outcome, Verdict
from mssbench.errors import MssbenchError, NotComparable, RunError
from mssbench.export.markdown import RULE, escaped, row_of
from mssbench.records import units
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
_MOST = 10  # annotations, as GitHub shows no more for one step
_MOST_ROWS = 200  # rows of the summary, which GitHub limits to one MiB


def annotations(title: str, judgements: Sequence[Judgement]) -> Iterator[str]:
    """Yield an annotation, `::error title=...::message`, for each failed row, most urgent first.

    title: the command, such as `mssbench check`.
    """
    failed = sorted((judged for judged in judgements if judged.verdict in _LEVEL), key=_urgency)
    for judged in failed[:_MOST]:
        name = _property(f"{title}: {judged.verdict}")
        yield f"::{_LEVEL[judged.verdict]} title={name}::{_message(_sentence(judged))}"

    if len(failed) > _MOST:
        yield f"::warning title={_property(title)}::and {len(failed) - _MOST} more rows"


def _urgency(judgement: Judgement) -> int:
    """Return a sort key that puts the most urgent verdict first."""
    return list(_LEVEL).index(judgement.verdict)


def _sentence(judgement: Judgement) -> str:
    """Return a judgement in words: the method, where it was measured, and the reason."""
    row = judgement.pair.row
    return f"{row['method']}, {where(row)}: {judgement.reason}"


def _message(text: str) -> str:
    """Return a text escaped for the message of a workflow command."""
    shown = units.harmless(text.replace("\r", "\n"))
    return shown.replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    """Return a text escaped for a property of a workflow command, such as the title."""
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def summary(title: str, judged: Judged) -> str:
    """Return the job summary in Markdown: outcome, number of rows by verdict, and changed rows."""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(judged.verdicts.items()))
    lines = [f"### {escaped(title)}: {judged.outcome}", "", counts or "no row", ""]
    for remark in (*judged.doubts, *judged.remarks):
        lines += [escaped(remark), ""]

    changed = [judgement for judgement in judged.judgements if judgement.verdict not in QUIET]
    if changed:
        head = ["verdict", "method", "where", "base", "new", "ratio", "why"]
        lines += [row_of(head), row_of([RULE] * len(head))]
    lines += [_summary_row(judgement) for judgement in changed[:_MOST_ROWS]]

    if len(changed) > _MOST_ROWS:
        lines += ["", f"and {units.count(len(changed) - _MOST_ROWS, 'more row')}"]
    return "\n".join(lines) + "\n"


def _summary_row(judgement: Judgement) -> str:
    """Return one line of the summary's table."""
    row = judgement.pair.row
    base, new = map(units.seconds, judgement.seconds)
    ratio = units.ratio(judgement.ratio) if judgement.ratio is not None else "-"
    return row_of([judgement.words, row["method"], where(row), base, new, ratio, judgement.reason])


def report(title: str, judged: Judged, code: int) -> list[str]:
    """Report a comparison to GitHub Actions, and return the annotations, lines to print.

    The job summary and the outputs for later steps are appended to the files that the variables
    GITHUB_STEP_SUMMARY and GITHUB_OUTPUT name; outside of GitHub Actions, where they are not set,
    nothing is written. title: the command, such as `mssbench check`. judged: the result. code: the
    exit code of the process. Raises RunError if a file cannot be written.
    """
    failed = [judgement for judgement in judged.judgements if judgement.verdict in _LEVEL]
    values = {"verdict": str(judged.outcome), "exit_code": str(code)}
    values |= {str(verdict): str(judged.verdicts.get(verdict, 0)) for verdict in Verdict}
    values["reasons"] = "\n".join(map(_sentence, failed))
    _write(summary(title, judged), values)

    head = f"::warning title={_property(f'{title}: {judged.outcome}')}::"
    doubts = [head + _message(doubt) for doubt in judged.doubts]
    return [*annotations(title, judged.judgements), *doubts]


def refused(title: str, error: MssbenchError) -> list[str]:
    """Report an error that prevented a comparison; return the annotations, lines to print.

    title: the command. Writes the same files as `report`, and raises RunError likewise.
    """
    verdict = str(Outcome.INCOMPARABLE) if isinstance(error, NotComparable) else "misuse"
    values = {"verdict": verdict, "exit_code": str(error.exit_code), "reasons": str(error)}
    _write(f"### {escaped(title)}: {verdict}\n\n{escaped(str(error))}\n", values)
    return [f"::error title={_property(f'{title}: {verdict}')}::{_message(str(error))}"]


def _write(summary: str, outputs: Mapping[str, str]) -> None:
    """Append summary and outputs to the files that GitHub Actions names in variables.

    Raises RunError if such a file cannot be written.
    """
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
    """Return the lines that set one output, between random delimiters, which no text can guess."""
    mark = f"mssbench_{secrets.token_hex(16)}"
    return f"{name}<<{mark}\n{value}\n{mark}\n"
