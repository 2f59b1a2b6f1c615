"""Deal the cells of a suite to several machines: `Shard`, a part that is measured by itself.

A cell is one combination of method, problem, size and so on, or one training of a network.
"""

import hashlib
import heapq
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import Any, Generic, NamedTuple, TypeVar

from mssbench.errors import SuiteError
from mssbench.records import units
from mssbench.records.cell import Cell, clocks, phases
from mssbench.records.training import TrainingCell
from mssbench.results.parts import Part

# All cells of a suite are of one kind: those that `run` measures, or those that `train` trains.
AnyCell = TypeVar("AnyCell", Cell, TrainingCell)
_NOUN = {Cell: "cell", TrainingCell: "training"}  # what messages call them

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


def folder_name(suite: str, shard: Shard | None) -> str:
    """Return the name of the folder for a suite, or for a shard of it, if the user names none."""
    return suite if shard is None else f"{suite}-shard-{shard.number}-of-{shard.of}"


def cells_of(shard: Shard, cells: Sequence[AnyCell]) -> list[AnyCell]:
    """Return the cells of one shard, in the order of `cells`.

    Raises SuiteError if there are more shards than cells.
    """
    if shard.of > len(cells):
        are = "is" if len(cells) == 1 else "are"
        raise SuiteError(
            f"--shard {shard}: there {are} only {units.count(len(cells), _NOUN[type(cells[0])])}, "
            f"so that {len(cells)} is the largest number of shards."
        )
    return deal(cells, shard.of)[shard.number - 1]


def part_of_suite(
    shard: Shard, cells: Iterable[AnyCell], of_all_shards: Sequence[AnyCell], digest: str
) -> Part:
    """Return what a run of one shard has, for the facts of its folder.

    cells: those of the shard. of_all_shards: those of all shards. digest: of the suite.
    """
    here = {cell.cell_id for cell in cells}
    places = {c.cell_id: i for i, c in enumerate(of_all_shards) if c.cell_id in here}
    noun = _NOUN[type(of_all_shards[0])]
    return Part(shard.of, len(of_all_shards), digest, {shard.number: places}, noun=noun)


def deal(cells: Sequence[AnyCell], count: int) -> list[list[AnyCell]]:
    """Deal cells to `count` shards, each of which gets about the same work and at least one cell.

    Cells whose methods are compared stay in one shard as long as that gives no shard much more than
    its fair share of the work, so that they are compared on one machine, and a reference is
    computed once. The groups are dealt in the order of their cost, the largest first, each to the
    shard with the least work so far. A group that would give it too much is halved, and so are the
    halves. The result depends on the cells alone: neither on their order nor on the machine.
    """
    groups: dict[tuple[Any, ...], list[AnyCell]] = {}
    for cell in cells:
        groups.setdefault(_compared(cell), []).append(cell)

    fair = fsum(map(_cost, cells)) / count
    # The entries of both heaps are ordered by their first two values, which are never equal.
    parts = [_part(sorted(group, key=_id)) for group in groups.values()]
    heapq.heapify(parts)
    shards: list[tuple[float, int, list[AnyCell]]] = [(0.0, i, []) for i in range(count)]
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


class _Part(NamedTuple, Generic[AnyCell]):
    """Cells that go to one shard. Parts are ordered by their cost, the largest first."""

    negative_cost: float
    first: str  # cell_id, which orders parts of the same cost
    cells: list[AnyCell]


def _part(cells: list[AnyCell]) -> _Part[AnyCell]:
    return _Part(-fsum(map(_cost, cells)), cells[0].cell_id, cells)


def _number(shard: tuple[float, int, list[AnyCell]]) -> int:
    return shard[1]


def _id(cell: Cell | TrainingCell) -> str:
    return cell.cell_id


def _compared(cell: Cell | TrainingCell) -> tuple[Any, ...]:
    """Return a key that is the same for cells whose methods are compared.

    They have the same matrices, or the same data, first weights and learning rate.
    """
    if isinstance(cell, TrainingCell):
        return (cell.task, cell.seed, cell.learning_rate)
    return (cell.device, cell.problem, cell.size, cell.batch, cell.precision, cell.seed)


def _cost(cell: Cell | TrainingCell) -> float:
    """Return roughly the seconds that a cell takes; the ratios of two cells are what matters.

    For a training it is the number of epochs: what one takes depends on data that may be missing.
    """
    if isinstance(cell, TrainingCell):
        return cell.epochs
    rows = len(phases(cell)) * len(clocks(cell))
    per_call = _SECONDS[cell.device] * cell.size**3 * cell.batch
    return rows * (_ROW_SECONDS + per_call)


def digest(cells: Iterable[AnyCell], measured: Mapping[str, Any]) -> str:
    """Return a text that is the same for shards that belong together, and for no others.

    They have the same cells in the same order, and the same settings of how a cell is measured, or
    of what is measured of a training.
    """
    content = [[cell.cell_id for cell in cells], sorted(measured.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
