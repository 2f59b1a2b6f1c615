"""Results on stdout: as JSON, as rich tables on a terminal, or as plain tables in a pipe."""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mssbench import units
from mssbench.export.json_ import json_text

if TYPE_CHECKING:
    from rich.console import RenderableType

# Of what `--json` prints, for all commands together: it changes when a key of any of them goes, or
# changes its meaning. A new key does not change it.
JSON_SCHEMA = 1


def output(parts: "Iterable[RenderableType]") -> None:
    """Print what people read to stdout."""
    from mssbench.console.terminal import make_console, plain, put

    console = make_console()
    if not console.is_terminal:
        write(plain(parts))
        return
    for part in parts:
        put(console, part)


def output_json(command: str, found: Mapping[str, Any]) -> None:
    """Print the answer of a command to `--json` on stdout, in the shape that all of them share.

    It is one object: `schema`, `command`, then the keys of the command itself.

    command: as a user writes it, with the words that choose what it answers: `list backends`.
    found: the keys of that command. Where its answer is a list, that is the one under `rows`.
    """
    envelope = {"schema": JSON_SCHEMA, "command": command}
    taken = envelope.keys() & found.keys()
    assert not taken, f"{command} has keys of its own that the envelope has: {taken}"
    write(json_text(envelope | dict(found), indent=2))


def write(text: str) -> None:
    """Write a text to stdout; see streams.py for what happens where that is not possible."""
    if sys.stdout.isatty():  # a file or another program gets it as it is
        text = units.harmless(text)
    sys.stdout.write(text)
    sys.stdout.flush()
