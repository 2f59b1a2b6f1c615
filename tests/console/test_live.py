"""Drawing again and again: at which moments, and until when."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from mssbench.console.live import redraw


def drawn(states, goes_on, wait):
    """What stands on the screen after each drawing, of a run whose rows are `states`."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=60, height=20)
    left = list(states)
    redraw(lambda: [Text(left.pop(0))], goes_on, console, 0.5, wait)
    assert not left
    return stream.getvalue()


def test_it_draws_and_waits_until_the_run_ends():
    answers, waits = [True, True, False], []
    text = drawn(["1 row", "2 rows", "3 rows"], lambda: answers.pop(0), waits.append)
    assert waits == [0.5, 0.5]  # and not once more when all is drawn
    assert text.index("1 row") < text.index("2 rows") < text.index("3 rows")
    assert "redrawn every 0.5 s" in text


def test_whether_the_run_goes_on_is_asked_before_its_rows_are_read():
    """Else rows that came in between, the last ones, would never be drawn."""
    order = []
    console = Console(file=io.StringIO(), force_terminal=True)

    def goes_on():
        order.append("asked")
        return len(order) < 3

    def draw():
        order.append("drawn")
        return []

    redraw(draw, goes_on, console, 1.0, lambda _: None)
    assert order == ["asked", "drawn", "asked", "drawn"]


def test_an_interrupt_gives_the_cursor_back():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True)

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redraw(list, lambda: True, console, 1.0, stop)
    assert stream.getvalue().count("\x1b[?25h") == stream.getvalue().count("\x1b[?25l") == 1
