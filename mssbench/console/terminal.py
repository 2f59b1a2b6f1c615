"""Create rich consoles for a terminal or a pipe, and print to them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mssbench.records import units

# Columns of output that is no terminal, unless COLUMNS is set. Wide enough for most tables, narrow
# enough for a pager and a log.
_PIPE_WIDTH = 110


class SafeConsole(Console):
    """A console that removes control characters, so that no data can control the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of a renderable; the control codes of rich itself are kept.

        For a terminal without Unicode, texts are replaced before they are folded, as a replacement
        may be longer than its character.
        """
        if (options or self.options).ascii_only:
            renderable = _in_ascii(renderable)
        for segment in super().render(renderable, options):
            text = units.harmless(segment.text)
            # Rich calls this for each level of a table, so that most segments are safe already.
            if segment.control or text is segment.text:
                yield segment
            else:
                yield segment._replace(text=text)


def _in_ascii(part: RenderableType) -> RenderableType:
    """Return a text, or a table with its texts, in ASCII; any other renderable unchanged."""
    if isinstance(part, str):
        return units.ascii_only(part)
    if isinstance(part, Text) and not part.plain.isascii():
        return _text_in_ascii(part)
    if isinstance(part, Table):
        for column in part.columns:
            column.header = _in_ascii(column.header)
            column._cells = [_in_ascii(cell) for cell in column._cells]
    return part


def _text_in_ascii(text: Text) -> Text:
    """Return a text in ASCII, with the styles of its parts."""
    others = [i for i, c in enumerate(text.plain) if not c.isascii()]
    pieces = text.divide(sorted({j for i in others for j in (i, i + 1)}))
    ascii_ = text.blank_copy()
    for piece in pieces:
        if piece.plain.isascii():
            ascii_.append_text(piece)
        else:
            style = piece.spans[-1].style if piece.spans else ""
            ascii_.append(units.ascii_only(piece.plain), style)
    return ascii_


def make_console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, else as COLUMNS says, else 110 columns wide."""
    shared: dict[str, Any] = {"stderr": stderr, "highlight": False, "emoji": False}
    console = SafeConsole(**shared)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return SafeConsole(**shared, width=_PIPE_WIDTH)


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Show a spinner with some words on stderr during the block, if stderr is a terminal."""
    console = make_console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(words):
        yield


def put(console: Console, part: RenderableType) -> None:
    """Print a table or text. A text with `no_wrap`, such as a command to copy, is not folded.

    Parts are printed one by one, because rich forgets `no_wrap` if it prints several together.
    """
    whole = isinstance(part, Text) and bool(part.no_wrap)
    console.print(part, crop=False, soft_wrap=whole)


def plain(parts: Iterable[RenderableType]) -> str:
    """Return tables and texts as plain text, without control codes and trailing blanks."""
    console = make_console()
    with console.capture() as captured:
        for part in parts:
            put(console, part)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
