"""Cell -> Measurements. Refuses what cannot be, builds the problem and its truth, and never raises.

What happens on the bench is in bench.py: verify, weigh, time, verify again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mssbench.measure import code_hash as provenance
from mssbench.measure.admission import classify, methods_of, pair_of, refuse, refuse_written
from mssbench.measure.bench import Bench, Settings
from mssbench.measure.inputs import forget_inputs, inputs, rotation_of
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.libraries import library, product_rule
from mssbench.measure.verification import truth_of
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, uniform


@dataclass(frozen=True)
class Result:
    """The rows of one cell, the hash of the code that made them, and where the time went."""

    measurements: tuple[Measurement, ...]
    code_hash: str
    spent: Spent
    lost: bool = False  # this process should measure no more


def measure(cell: Cell, settings: Settings, announce: Callable[[], None] = lambda: None) -> Result:
    """Measure every phase of a cell on every clock. Whatever a method does becomes rows.

    announce: called when problem and reference stand and the method is about to run; a timeout
    starts there, since what comes before is not the method's doing.
    """
    spent, code_hash, lost, start = Spent(), "", False, time.perf_counter()
    try:
        forward, backward = methods_of(cell)
        code_hash = provenance.code_hash(forward, *([backward] if backward else []))
        refuse(cell, forward, backward)
        measurements, lost = _measure(cell, settings, spent, announce)
    except Exception as error:  # a method that raises is a result, not the end of the run
        measurements = uniform(cell, *classify(error))
    spent.total = time.perf_counter() - start
    return Result(measurements, code_hash, spent, lost)


def _measure(
    cell: Cell, settings: Settings, spent: Spent, announce: Callable[[], None]
) -> tuple[tuple[Measurement, ...], bool]:
    pair = pair_of(cell)
    start = time.perf_counter()
    a64, g64 = inputs(cell)
    middle = time.perf_counter()
    truth = truth_of(cell.function, cell.problem, cell.size, cell.batch, cell.seed, cell.precision)
    spent.problem, spent.reference = middle - start, time.perf_counter() - middle
    with library(cell.library), product_rule(cell.precision):
        begun = time.perf_counter()
        rotation = rotation_of(cell, a64, g64)
        spent.problem += time.perf_counter() - begun
        announce()
        try:
            bench = Bench(cell, pair, rotation, truth, settings, spent)
            rows = bench.run()
            refuse_written(cell, rotation)
        except BaseException:
            forget_inputs()  # nobody knows what became of them
            raise
    return rows, bench.spoilt
