"""What is drawn on a terminal again and again, while something else goes on."""

import time
from collections.abc import Callable, Iterable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text


def redraw(
    draw: Callable[[], Iterable[RenderableType]],
    goes_on: Callable[[], bool],
    console: Console,
    seconds: float,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Draw every few seconds, in the place of what was drawn before, and leave no trace.

    draw: makes what is drawn. What does not fit the height of the terminal is cut off below.
    goes_on: whether there may be more to be drawn later; it is asked before each drawing, so that
    the last one has everything.
    """
    hint = Text(f"drawn again every {seconds:g} s until the run ends; Ctrl-C ends this", "dim")
    with Live(console=console, transient=True, auto_refresh=False) as live:
        more = True
        while more:
            more = goes_on()
            live.update(Group(hint, *draw()), refresh=True)
            if more:
                wait(seconds)
