"""The console for a terminal or a pipe."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.text import Text

_PIPE_WIDTH = 110  # where there is no terminal to ask, and COLUMNS says nothing


def make_console(*, stderr: bool = False) -> Console:
    """As wide as the terminal, or as COLUMNS says, or 110 into a pipe, where nobody folds."""
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(stderr=stderr, highlight=False, emoji=False, width=_PIPE_WIDTH)


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Show on stderr that something is being done, while the block lasts and in a terminal only."""
    console = make_console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(words):
        yield


def put(console: Console, part: RenderableType) -> None:
    """Print one part. A command that will be copied stays whole, and so does a line for scripts.

    Rich joins what is printed together into one text, which forgets whether a part may be folded.
    """
    whole = isinstance(part, Text) and bool(part.no_wrap)
    console.print(part, crop=False, soft_wrap=whole)


def plain(parts: Iterable[RenderableType]) -> str:
    """What is printed where there is no terminal: no control codes, no blanks at a line's end."""
    console = make_console()
    with console.capture() as captured:
        for part in parts:
            put(console, part)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
