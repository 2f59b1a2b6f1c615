"""Print results to stdout: as JSON, as rich tables on a terminal, or as plain text in a pipe."""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mssbench.export.json_ import json_text
from mssbench.records import units

if TYPE_CHECKING:
    from rich.console import RenderableType

# Schema number of the `--json` output of all commands. It changes when a key is removed from any
# command or changes its meaning; a new key does not change it.
JSON_SCHEMA = 1


def output(parts: "Iterable[RenderableType]") -> None:
    """Print tables and sentences to stdout, as plain text unless it is a terminal."""
    from mssbench.console.terminal import make_console, plain, put

    console = make_console()
    if not console.is_terminal:
        write(plain(parts))
        return
    for part in parts:
        put(console, part)


def output_json(command: str, found: Mapping[str, Any]) -> None:
    """Print the JSON answer of a command to stdout.

    The answer is one object with the keys `schema` and `command`, followed by those of `found`.

    command: the command as a user writes it, with its subcommand, such as `list backends`.
    found: what the command found, by key. If this is a list, it stands under the key `rows`.
    """
    envelope = {"schema": JSON_SCHEMA, "command": command}
    collisions = envelope.keys() & found.keys()
    assert not collisions, f"keys of {command} collide with those of the envelope: {collisions}"
    write(json_text(envelope | dict(found), indent=2))


def write(text: str) -> None:
    """Write a text to stdout. The stream raises no errors, see streams.py."""
    if sys.stdout.isatty():  # control characters are removed only for terminals
        text = units.harmless(text)
    sys.stdout.write(text)
    sys.stdout.flush()
