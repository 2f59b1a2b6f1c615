"""Measure one cell, and return its rows. Errors of a method become rows and are not raised.

A cell is one combination of methods, problem, size and so on; a row is a line of the result table.
The measurement of a cell that can be measured is in bench.py.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mssbench.measure.admission import classify, refuse_written
from mssbench.measure.bench import Bench
from mssbench.measure.code_hash import code_hash
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.prepared import prepared
from mssbench.measure.process_state import Changes, Snapshot
from mssbench.measure.session import Session
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status, uniform
from mssbench.records.noise import LEFT_CHANGES


@dataclass(frozen=True)
class Result:
    """The rows of one cell, the hash of the code that made them, and where the time went."""

    measurements: tuple[Measurement, ...]
    code_hash: str
    spent: Spent
    lost: bool = False  # whether this process should measure no further cells
    log: str = ""  # the traceback of a method that crashed


def measure(
    cell: Cell,
    session: Session,
    announce: Callable[[], None] = lambda: None,
    share: float = 1.0,
) -> Result:
    """Measure every phase of a cell (`forward`, or `backward` and `step`) on every clock.

    announce: called when problem and reference are ready and the method is about to run. A timeout
        starts there, since the method is not responsible for the time before.
    share: fraction of the policy's sampling time to use, between 0 and 1.
    """
    spent, lost, start = Spent(), False, time.perf_counter()
    changes, log = Changes(), ""
    hashed = ""  # stays empty if a method is not installed

    try:
        hashed = code_hash(cell)
        with prepared(cell, session, spent) as ready:
            announce()
            snapshot = Snapshot()
            bench = Bench(ready, session, spent, share, restore=snapshot.restore)
            try:
                measurements = bench.run()
                refuse_written(cell, ready.rotation)
            finally:
                lost = True  # unless the state of the process is restored
                changes = snapshot.finish()
                lost = bench.spoilt or bool(changes.lasting)
    # A method that raises or exits is a result, and must not end the run.
    except (Exception, SystemExit) as error:
        status, reason = classify(error)
        measurements = uniform(cell, status, reason)
        if status is Status.CRASHED:
            log = "".join(traceback.format_exception(error))

    if changes.names:
        measurements = _with_changes(measurements, changes)
    spent.total = time.perf_counter() - start
    return Result(measurements, hashed, spent, lost, log)


def _with_changes(rows: Sequence[Measurement], changes: Changes) -> tuple[Measurement, ...]:
    """Add to each row a flag, and to its reason the names of what the method has changed.

    changes: the settings of the process that the method has changed.
    """
    changed = f"the method changed {', '.join(changes.names)}"

    return tuple(
        replace(
            row,
            reason="; ".join(filter(None, [row.reason, changed])),
            values={
                **(row.values or {}),
                "flags": f"{(row.values or {}).get('flags') or ''} {LEFT_CHANGES}".strip(),
            },
        )
        for row in rows
    )
