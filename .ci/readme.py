"""Writes what README.md shows of results/cpu-2core-quick: the text, and its picture."""

import os
import re
from io import StringIO
from pathlib import Path

from rich.console import Console

from mssbench.cli import run
from mssbench.console.terminal import plain

RUN = Path("results/cpu-2core-quick")
README, PICTURE = Path("README.md"), Path("docs/quick.svg")
WIDTH = 108  # of the picture: the bars and the names of papers have room
_OPENING, _CLOSING = "mssbench run quick\n```\n\n```\n", "\n```\n"


def text() -> str:
    """What the command prints into a pipe."""
    return plain(run.tables(RUN)).strip()


def picture() -> str:
    """What it prints in a terminal, as SVG. Fonts are the reader's own: nothing is fetched."""
    paper = Console(
        record=True,
        width=WIDTH,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        emoji=False,
    )
    for part in run.tables(RUN):
        paper.print(part, crop=False)
    svg = paper.export_svg(title="mssbench run quick", unique_id="quick")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    """Replace the block below README's first command, and the picture above it."""
    before, opening, rest = README.read_text().partition(_OPENING)
    _, closing, after = rest.partition(_CLOSING)
    if not (opening and closing):
        raise SystemExit(f"{README} has no block below its first command")
    README.write_text(before + opening + text() + closing + after)
    PICTURE.write_text(picture())


if __name__ == "__main__":
    os.environ.pop("COLUMNS", None)  # the width of whoever writes it is not that of a reader
    main()
