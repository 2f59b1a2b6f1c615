"""The console for a terminal or a pipe."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from mssbench import units

_PIPE_WIDTH = 110  # where there is no terminal to ask, and COLUMNS says nothing


class SafeConsole(Console):
    """A console on which no text of a table or of a suite is a command to the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """The segments of a renderable; those of its own control codes stay."""
        for segment in super().render(renderable, options):
            text = units.harmless(segment.text)
            # Rich calls this once for each level of a table, so most segments are safe already.
            if segment.control or text is segment.text:
                yield segment
            else:
                yield segment._replace(text=text)


def make_console(*, stderr: bool = False) -> Console:
    """As wide as the terminal, or as COLUMNS says, or 110 into a pipe, where nobody folds."""
    shared: dict[str, Any] = {"stderr": stderr, "highlight": False, "emoji": False}
    console = SafeConsole(**shared)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return SafeConsole(**shared, width=_PIPE_WIDTH)


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
