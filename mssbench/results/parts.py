"""Know which part of its suite a run has: one shard, or the shards that were joined so far.

`mssbench run --shard 2/4` measures the second of four parts of the cells of a suite, and `mssbench
train --shard 2/4` trains such a part of its networks. The facts of the folder then say which cells
these are, so that the shards can be joined, and so that a reader is told that the other cells are
elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mssbench.errors import RunError
from mssbench.records import units

PART = "part"  # key of these facts in environment.json


@dataclass(frozen=True)
class Part:
    """Which shards of a suite a run has."""

    of: int  # number of all shards
    cells: int  # number of cells of all shards
    digest: str  # of the suite: shards with another one do not belong together
    # The cells of each shard that the run has: by cell_id, their places in the order of all cells.
    shards: Mapping[int, Mapping[str, int]]
    without: frozenset[str] = frozenset()  # those cells of joined shards that have no result
    noun: str = "cell"  # what a cell is called: "training" in a run of `mssbench train`

    @property
    def is_whole(self) -> bool:
        """Whether the run has all shards, and a result for each cell."""
        return len(self.shards) == self.of and not self.without

    @property
    def lacking(self) -> dict[str, list[str]]:
        """The shards that lack results, such as `2/4`, with the ids of those cells.

        The list of a shard that the run does not have is empty, as its cells are not known.
        """
        found: dict[str, list[str]] = {}
        for number in range(1, self.of + 1):
            without = [c for c in self.shards.get(number, ()) if c in self.without]
            if without or number not in self.shards:
                found[f"{number}/{self.of}"] = without
        return found

    @property
    def places(self) -> dict[str, int]:
        """The place of each known cell, by cell_id, in the order of the cells of all shards."""
        return {cell: place for cells in self.shards.values() for cell, place in cells.items()}

    @property
    def name(self) -> str:
        """Which shards the run has, in words: `shard 2 of 4`, or `2 shards of 4`."""
        if len(self.shards) == 1:
            return f"shard {min(self.shards)} of {self.of}"
        return f"{len(self.shards)} shards of {self.of}"

    def as_data(self) -> dict[str, Any]:
        """Return the facts as they are stored."""
        return {
            "of": self.of,
            "cells": self.cells,
            "digest": self.digest,
            "shards": {str(number): dict(cells) for number, cells in self.shards.items()},
            "without": sorted(self.without),
            "noun": self.noun,
        }


def part_of(facts: Mapping[str, Any]) -> Part | None:
    """Return which part of a suite a run has, from its facts; None if it is no part."""
    if PART not in facts:
        return None
    data = facts[PART]
    shards = {int(number): cells for number, cells in data["shards"].items()}
    without = frozenset(data.get("without", ()))
    noun = data.get("noun", "cell")
    return Part(data["of"], data["cells"], data["digest"], shards, without, noun)


def sentence(facts: Mapping[str, Any], run: str = "This run") -> str:
    """Return a sentence which says that a run is only a part of its suite; empty if it is not.

    facts: of the run. run: what the sentence calls it.
    """
    part = part_of(facts)
    if part is None:
        return ""
    whole = len(part.shards) == part.of
    return (
        f"{run} is only a part of its suite: {part.name}, {len(part.places) - len(part.without)} "
        f"of {units.count(part.cells, part.noun)}. "
        + ("The others have no result." if whole else "`mssbench merge` joins the shards.")
    )


def refuse_other(folder: Path, before: Part | None, now: Part | None) -> None:
    """Raise RunError if a folder contains another shard of its suite, or a run without shards.

    Shards are usually measured at the same time on several machines, and a lock on a folder is not
    known to hold on every shared file system. So a folder is of one shard.

    before: what is in the folder. now: what is to be measured into it. None stands for all cells.
    """
    if before is None and now is None:
        return

    if now is None:
        assert before is not None
        holds = f"holds {before.name}, and not all {before.noun}s"
    elif before is None:
        holds = f"holds a run of all {now.noun}s, and not {now.name} alone"
    elif (before.of, [*before.shards]) == (now.of, [*now.shards]):
        return
    else:
        holds = f"holds {before.name}, and not {now.name}"
    raise RunError(
        f"{folder} {holds}. Each shard needs a folder of its own: choose another --out, and "
        "join the folders with `mssbench merge`; or use --fresh to replace what is there."
    )


def fault(data: Any) -> str:
    """Return what is wrong with the stored facts of a part; empty if nothing is."""
    if not isinstance(data, dict):
        return f"{PART} is no object"
    for key, kind in (("of", int), ("cells", int), ("digest", str), ("shards", dict)):
        if not isinstance(data.get(key), kind):
            return f"{PART}.{key} is {data.get(key)!r:.40}"
    for number, cells in data["shards"].items():
        if not number.isdecimal() or not 1 <= int(number) <= data["of"]:
            return f"{PART}.shards has {number!r:.40}"
        if not isinstance(cells, dict) or not all(isinstance(i, int) for i in cells.values()):
            return f"{PART}.shards.{number} is no object of numbers"
    if not isinstance(data.get("noun", ""), str):
        return f"{PART}.noun is {data['noun']!r:.40}"
    without = data.get("without", [])
    if not isinstance(without, list) or not all(isinstance(cell, str) for cell in without):
        return f"{PART}.without is not a list of texts"
    return "" if data["shards"] else f"{PART}.shards is empty"


def joined(parts: Mapping[Path, Part | None]) -> Part | None:
    """Return which part of a suite several runs have together; None if no run is a part.

    parts: of each run, by its folder. Raises RunError if the runs do not belong together.
    """
    known = {path: part for path, part in parts.items() if part is not None}
    if not known:
        return None
    if others := [path for path in parts if path not in known]:
        raise RunError(
            f"{next(iter(known))} is only a part of its suite, and {others[0]} is a run of its "
            "own. Merge the shards first, into a folder that has all of them, and then that one."
        )

    (first, one), *rest = known.items()
    for path, other in rest:
        if (one.of, one.digest) != (other.of, other.digest):
            raise RunError(
                f"{first} has {one.name}, of {units.count(one.cells, one.noun)}, and {path} has "
                f"{other.name}, of {units.count(other.cells, other.noun)}: these shards do not "
                "belong to the same run, or their [measure] or [training] differs. Merge shards "
                "of the same suite, with the same options and the same number of shards."
            )
    shards: dict[int, Mapping[str, int]] = {}
    for part in known.values():
        shards |= part.shards
    return replace(one, shards=dict(sorted(shards.items())), without=frozenset())
