"""What `compare`, `check` and `ab` share: reports to GitHub, and the last line of the output."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.text import Text

from mssbench.cli.output import output_json
from mssbench.compare.judgement import Judged
from mssbench.compare.verdict import Outcome, last_line
from mssbench.errors import MssbenchError, NotComparable
from mssbench.export import github as github_
from mssbench.records import units


@contextmanager
def judging(command: str, *, told: bool, as_json: bool) -> Iterator[Callable[..., None]]:
    """Report the result of a comparison to GitHub Actions, or the error that prevented it.

    A context manager around the comparison. It gives a function that is called with the result and
    the exit code, and reports them.

    command: the name of the command. told: whether to report to GitHub (`--github`). as_json:
    whether stdout is JSON; then a NotComparable error is printed as JSON as well, and the process
    exits with its code.
    """
    title = f"mssbench {command}"

    def say(lines: Iterable[str]) -> None:
        # GitHub reads annotations from either stream, and stdout may be JSON.
        for line in lines:
            typer.echo(units.harmless(line), err=True)

    def tell(*result: Any) -> None:
        if told:
            say(github_.report(title, *result))

    try:
        yield tell
    except MssbenchError as error:
        if told:
            say(github_.refused(title, error))
        if not (as_json and isinstance(error, NotComparable)):
            raise

        typer.echo(f"mssbench: {units.harmless(str(error))}", err=True)
        verdict = {"verdict": Outcome.INCOMPARABLE, "exit_code": error.exit_code}
        output_json(command, verdict | {"reason": str(error)})
        raise typer.Exit(error.exit_code) from None


def closing(result: Judged) -> Text:
    """Return the last line of the output, which is never folded, because scripts read it."""
    line = last_line(result.outcome, result.verdicts, len(result.judgements))
    return Text(line, no_wrap=True, overflow="ignore")
