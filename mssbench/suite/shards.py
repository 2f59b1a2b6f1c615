"""Deal the cells of a suite to several machines: `Shard`, a part that is measured by itself.

A cell is one combination of method, problem, size and so on.
"""

import hashlib
import heapq
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

from mssbench.errors import SuiteError
from mssbench.records.cell import Cell, clocks, phases

# A rough cost of a cell, which depends on nothing but the cell, because every machine must deal the
# same cells to a shard, whatever is installed there: seconds that each row takes in any case, and
# seconds per floating point operation of some dozens of calls with some dozens of products each.
_ROW_SECONDS = 0.3
_SECONDS = {"cpu": 2e-8, "cuda": 1e-10}
# Largest work of a shard, relative to its fair share, for which a group of cells is kept together.
# The costs are not known to a tenth, so that a stricter limit would gain nothing.
_MOST = 1.1


class Shard(NamedTuple):
    """Part `number` of `of` parts of the cells of a suite, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse(text: str) -> Shard:
    """Return the shard that a text such as `2/4` names. Raises SuiteError for any other text."""
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if match is None:
        raise SuiteError(f"--shard {text!r}: write I/N, such as 1/4 for the first of four parts.")
    shard = Shard(int(match[1]), int(match[2]))
    if not 1 <= shard.number <= shard.of:
        raise SuiteError(
            f"--shard {text}: shards are counted from 1, and none is above their number. The first "
            f"of {max(shard.of, 1)} is 1/{max(shard.of, 1)}."
        )
    return shard


def cells_of(shard: Shard, cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of one shard, in the order of `cells`.

    Raises SuiteError if there are more shards than cells.
    """
    if shard.of > len(cells):
        raise SuiteError(
            f"--shard {shard}: there are only {len(cells)} cells to measure, so that {len(cells)} "
            "is the largest number of shards."
        )
    return deal(cells, shard.of)[shard.number - 1]


def deal(cells: Sequence[Cell], count: int) -> list[list[Cell]]:
    """Deal cells to `count` shards, each of which gets about the same work and at least one cell.

    Cells with the same matrices stay in one shard as long as that gives no shard much more than its
    fair share of the work, so that methods are compared on one machine, and a reference is computed
    once. The groups are dealt in the order of their cost, the largest first, each to the shard with
    the least work so far. A group that would give it too much is halved, and so are the halves. The
    result depends on the cells alone: neither on their order nor on the machine.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_matrices(cell), []).append(cell)

    fair = fsum(map(_cost, cells)) / count
    # The entries of both heaps are ordered by their first two values, which are never equal.
    parts = [_part(sorted(group, key=_id)) for group in groups.values()]
    heapq.heapify(parts)
    shards: list[tuple[float, int, list[Cell]]] = [(0.0, i, []) for i in range(count)]
    number = len(parts)  # of parts, those that were dealt already included

    while parts:
        part = heapq.heappop(parts)
        too_much = shards[0][0] - part.negative_cost > _MOST * fair
        if len(part.cells) > 1 and (too_much or number < count):
            for half in (part.cells[::2], part.cells[1::2]):
                heapq.heappush(parts, _part(half))
            number += 1
        else:
            work, i, dealt = shards[0]
            dealt += part.cells
            heapq.heapreplace(shards, (work - part.negative_cost, i, dealt))

    place = {cell: i for i, cell in enumerate(cells)}
    return [sorted(dealt, key=place.__getitem__) for _, _, dealt in sorted(shards, key=_number)]


class _Part(NamedTuple):
    """Cells that go to one shard. Parts are ordered by their cost, the largest first."""

    negative_cost: float
    first: str  # cell_id, which orders parts of the same cost
    cells: list[Cell]


def _part(cells: list[Cell]) -> _Part:
    return _Part(-fsum(map(_cost, cells)), cells[0].cell_id, cells)


def _number(shard: tuple[float, int, list[Cell]]) -> int:
    return shard[1]


def _id(cell: Cell) -> str:
    return cell.cell_id


def _matrices(cell: Cell) -> tuple[Any, ...]:
    """Return a key that is the same for cells whose methods are compared: the same matrices."""
    return (cell.device, cell.problem, cell.size, cell.batch, cell.precision, cell.seed)


def _cost(cell: Cell) -> float:
    """Return roughly the seconds that a cell takes; the ratios of two cells are what matters."""
    rows = len(phases(cell)) * len(clocks(cell))
    per_call = _SECONDS[cell.device] * cell.size**3 * cell.batch
    return rows * (_ROW_SECONDS + per_call)


def digest(cells: Iterable[Cell], measured: Mapping[str, Any]) -> str:
    """Return a text that is the same for shards that belong together, and for no others.

    They have the same cells in the same order, and the same settings of how a cell is measured.
    """
    content = [[cell.cell_id for cell in cells], sorted(measured.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
