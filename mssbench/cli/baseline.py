"""`mssbench baseline`: runs that others are held against, under results/baselines.

results/baselines/NAME/          the newest: table.csv, environment.json, suite.toml
results/baselines/NAME@DATE/     those before it, as many as are to be kept
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mssbench import units
from mssbench.console import lists
from mssbench.results.baselines import FOLDER


def table(found: Sequence[dict[str, Any]]) -> Iterator[RenderableType]:
    """The list for people."""
    if not found:
        yield Text(f"no baseline in {FOLDER}; `mssbench baseline save RUN` makes a run one")
        return
    yield lists.listing(f"baselines in {FOLDER}", found)


def saved(found: dict[str, Any]) -> Text:
    """One line about what was saved, and how to use it."""
    dropped = f", dropped {', '.join(found['dropped'])}" if found["dropped"] else ""
    return Text(
        f"{units.count(found['rows'], 'row')} in {found['path']}{dropped}; "
        f"`mssbench check RUN --baseline {found['name']}` holds a run against it"
    )
