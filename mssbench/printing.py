"""What commands return, on stdout: JSON, rich tables on a terminal, plain ones in a pipe."""

import json
import os
import sys
from math import isfinite
from typing import Any


def output(what: Any) -> None:
    """Data as JSON, or renderables, to stdout."""
    if isinstance(what, dict | list) and not _renderable(what):
        write(json.dumps(_finite(what), indent=2, allow_nan=False, ensure_ascii=False) + "\n")
        return
    from mssbench.console import make_console, plain

    console = make_console()
    if not console.is_terminal:
        write(plain(what))
        return
    for part in what:
        console.print(part)


def _renderable(what: Any) -> bool:
    return isinstance(what, list) and bool(what) and not isinstance(what[0], dict)


def _finite(what: Any) -> Any:
    """The same, with null for the numbers that JSON has no word for."""
    if isinstance(what, dict):
        return {k: _finite(v) for k, v in what.items()}
    if isinstance(what, list | tuple):
        return [_finite(v) for v in what]
    return None if isinstance(what, float) and not isfinite(what) else what


def write(text: str) -> None:
    """To stdout, whose reader may have seen enough: nothing is wrong then, and nothing is said."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
