"""Results on stdout: as JSON, as rich tables on a terminal, or as plain tables in a pipe."""

import os
import sys
from typing import Any

from mssbench.export.json_ import json_text


def output(what: Any) -> None:
    """Data as JSON, or renderables, to stdout."""
    if isinstance(what, dict | list) and not _renderable(what):
        write(json_text(what, indent=2))
        return
    from mssbench.console.terminal import make_console, plain

    console = make_console()
    if not console.is_terminal:
        write(plain(what))
        return
    for part in what:
        console.print(part, crop=False)  # a command that will be copied stays whole


def _renderable(what: Any) -> bool:
    return isinstance(what, list) and bool(what) and not isinstance(what[0], dict)


def write(text: str) -> None:
    """Write a text to stdout. A reader that has closed the pipe is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
