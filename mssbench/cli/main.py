"""The command line: the table of commands, and how their errors are printed and end the process."""

import gc
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mssbench import __version__
from mssbench.cli import streams
from mssbench.cli.options import examples
from mssbench.errors import ExitCode, MssbenchError, NotComparable
from mssbench.machine import children
from mssbench.records import units

# Name of a command -> its module in mssbench.cli, and the line that `mssbench --help` has on it.
# The line repeats the first sentence of the command's docstring, so that no module is imported
# before its command is invoked.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": (
        "run",
        "Measure a suite, or the part of it without results, and print which method to use.",
    ),
    "recommend": (
        "recommend",
        "Say which method to use for a size, batch and error, with the rows that prove it.",
    ),
    "train": (
        "train",
        "Train small networks that differ in the root alone, and compare their accuracy.",
    ),
    "show": ("show", "Print the tables of a run: time and error of each method, the best in bold."),
    "pareto": (
        "pareto",
        "Print the methods that no other one beats in time and error: the Pareto fronts of a run.",
    ),
    "plot": (
        "plot",
        "Draw figures of a run: time against error, the fastest methods, failures, and more.",
    ),
    "report": (
        "report",
        "Write one HTML page on one or more runs: findings, figures, and a table to search.",
    ),
    "claims": (
        "claims",
        "Say which claims of papers, as stated in the suite of RUN, hold in its results.",
    ),
    "list": (
        "listing",
        "List methods, problems or suites, with their parameters and the sources that they cite.",
    ),
    "new": ("new", "Write a Python file with a working example of a method, for you to change."),
    "test": (
        "test",
        "Test the methods of a file: shapes, types, batches, exact roots and gradients.",
    ),
    "doctor": (
        "doctor",
        "Report what can run on this machine, what would spoil its results, and how to fix that.",
    ),
    "selftest": ("selftest", "Check that mssbench itself measures correctly on this machine."),
    "merge": (
        "merge",
        "Join runs into one table, or complete the files of one RUN that was killed.",
    ),
    "compare": ("compare", "Compare two runs row by row."),
    "check": (
        "check",
        "Compare the status, errors and counts of operations of a run with those of a baseline.",
    ),
    "ab": (
        "ab",
        "Find out whether NEW is slower than BASE, by measuring both in turn on this machine.",
    ),
    "export": ("export", "Write a run in the format of another tool."),
    "import": (
        "import_",
        "Make a run of what `pytest --mssbench` or `export --to pytest-benchmark` wrote.",
    ),
    "baseline": ("baseline", "Keep runs as baselines, to compare others with."),
}
_UNFORESEEN = 70  # EX_SOFTWARE
# Objects made before Python looks for cycles among them. Its own 700 costs a command that ends
# within seconds an eighth of its time, and what the command makes is needed until it ends.
_ALLOCATIONS = 100_000


def load(name: str) -> Any:
    """Return the click command with this name of COMMANDS, after importing its module.

    The module's `command` is either a function, whose help page ends with the module's EXAMPLES,
    or a typer.Typer with subcommands.
    """
    module = import_module(f"mssbench.cli.{COMMANDS[name][0]}")
    found = module.command
    if isinstance(found, typer.Typer):
        group = found
    else:
        group = typer.Typer(add_completion=False)
        group.command(help=_reflowed(found), epilog=examples(*module.EXAMPLES))(found)

    command = typer.main.get_command(group)
    command.name = name
    return command


def _reflowed(function: Callable[..., Any]) -> str:
    """Return a function's docstring with each paragraph joined to one line.

    The terminal then folds the help page to its own width, not to that of our source files.
    """
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


class LazyGroup(TyperGroup):
    """A command group that lists the commands from COMMANDS and imports only the invoked one."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=line)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the invoked command, imported now, in place of its entry in the list.

        A name that is no command is a usage error.
        """
        name, entry, rest = super().resolve_command(ctx, args)
        return name, entry if name is None else load(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Ctrl-C ends it with exit code 130, because 1 would mean a regression."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from None


app = typer.Typer(
    cls=LazyGroup,
    help="Which differentiable batched matrix square root is faster, and how wrong is each one?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mssbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before any command."""


def main() -> None:
    """Entry point of the command line.

    A MssbenchError is printed as one line on stderr, and the process exits with the error's code,
    which is 2 for most. What the system refuses, such as a file that cannot be written, is printed
    in the same way, with code 2. Any other exception is printed with its traceback, and the process
    exits with code 70: Python's 1 would be taken for a regression.
    """
    streams.prepare()
    children.heed()
    gc.set_threshold(_ALLOCATIONS)
    try:
        app()
    except MssbenchError as error:
        _say(str(error))
        if isinstance(error, NotComparable):
            typer.echo("mssbench: verdict=incomparable")
        sys.exit(error.exit_code)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _say(f"{error.strerror or error}{where}")
        sys.exit(ExitCode.MISUSE)
    except UnicodeEncodeError as error:
        _say(f"a name or a text is not UTF-8: {error.object!r:.200}")
        sys.exit(ExitCode.MISUSE)
    except MemoryError:
        _say("there is not enough memory for this")
        sys.exit(ExitCode.MISUSE)
    except Exception:
        traceback.print_exc()
        _say("this is a mistake in mssbench: please report it")
        sys.exit(_UNFORESEEN)
    finally:
        if why := streams.lost():
            _say(f"stdout cannot be written: {why}")


def _say(text: str) -> None:
    """Print one line about the command itself to stderr."""
    typer.echo(f"mssbench: {units.harmless(text)}", err=True)
