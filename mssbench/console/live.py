"""Redraw renderables on a terminal while a run goes on."""

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
    """Redraw every few seconds in place, and erase the drawing at the end.

    draw: returns what to show. Lines beyond the height of the terminal are cut off.
    goes_on: whether the run goes on. It is called before each drawing, so that the last drawing is
    made after the run has ended and is complete. seconds: time between two drawings.
    """
    hint = Text(f"redrawn every {seconds:g} s until the run ends; Ctrl-C ends this", "dim")
    with Live(console=console, transient=True, auto_refresh=False) as live:
        more = True
        while more:
            more = goes_on()
            live.update(Group(hint, *draw()), refresh=True)
            if more:
                wait(seconds)
