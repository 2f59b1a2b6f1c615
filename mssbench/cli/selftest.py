"""`mssbench selftest`: test whether the harness measures times and statuses correctly here."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mssbench import arrays
from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
from mssbench.console.terminal import make_console
from mssbench.errors import RunError, unknown
from mssbench.machine import devices
from mssbench.records import units
from mssbench.selftest.checks import CheckOutcome, Report, detectable

_STYLE = {
    CheckOutcome.PASSED: "green",
    CheckOutcome.WARNING: "yellow",
    CheckOutcome.UNCLEAR: "yellow",
    CheckOutcome.FAILED: "bold red",
}

EXAMPLES = ("mssbench selftest --device cpu",)


def command(
    device: Annotated[
        str | None,
        typer.Option(
            help="Device to test on: cpu or cuda.", show_default="cuda if there is one, else cpu"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that mssbench itself measures correctly on this machine.

    It times calls of known duration, compares its clocks with other timers, and checks that methods
    that were made slow or wrong are reported as such. This takes about a minute and writes nothing.
    Exit code: 0 the harness measures correctly here, 1 it does not, 2 misuse, 3 unclear, because
    the machine is too noisy now.
    """
    report = examine(device, make_console(stderr=True))
    if as_json:
        output_json("selftest", data(report))
    else:
        output(table(report))
    raise typer.Exit(report.exit_code)


def examine(device: str | None, log: Console) -> Report:
    """Test the harness on one device and return the report. Progress is printed on `log`.

    device: cpu or cuda; None: cuda if there is one, else cpu. Raises RunError for another word.
    """
    if device is not None and device not in arrays.DEVICES["torch"]:
        raise RunError(unknown("device", device, arrays.DEVICES["torch"]))
    # The torch profiler, which measures memory, logs to stderr below this level.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from mssbench.selftest import selftest  # imports torch

    return selftest.examine(device or devices.default_device(), _logger(log))


def _logger(log: Console) -> Callable[[str], None]:
    """Return a function that prints one line of progress to `log`."""
    return lambda text: log.print(Text(f"selftest: {text}", "dim"))


def data(report: Report) -> dict[str, Any]:
    """Return the whole report for JSON."""
    return {
        "device": report.device,
        "exit_code": report.exit_code,
        "conclusion": report.conclusion,
        "noise_floor": report.floor,
        "smallest_slowdown": detectable(report.floor),
        "seconds": report.seconds,
        "checks": [asdict(check) for check in report.checks],
    }


def table(report: Report) -> Iterator[RenderableType]:
    """Yield a table with one line for each check, then the conclusion."""
    shown = Table(box=box.SIMPLE_HEAD)
    for name in ("check", "measured", "limit", "verdict", "what it is"):
        widest = {"check": 22, "limit": 12}.get(name)  # leaves room for the long last column
        shown.add_column(name, no_wrap=name == "verdict", overflow="fold", max_width=widest)

    for check in report.checks:
        measured, limit = _number(check.measured, "+"), _number(check.limit)
        if not isinstance(check.limit, str):
            limit = f"{check.sense} {limit}"
        verdict = Text(check.outcome, _STYLE[check.outcome])
        shown.add_row(Text(check.name), measured, limit, verdict, Text(check.sentence))

    yield shown
    yield Text(f"{report.device}, {units.duration(report.seconds)}", "dim")
    style = {0: "green", 1: "bold red", 3: "yellow"}[report.exit_code]
    yield Text(report.conclusion, style)


def _number(x: float | str, sign: str = "") -> str:
    """Return a fraction as a percentage, `+0.21 %`; a text, such as a status, is unchanged."""
    return x if isinstance(x, str) else f"{100 * x:{sign}.2f} %"
