"""A small cell, and what is measured of it in no time."""

from mssbench import problems
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement
from mssbench.records.policy import Policy

CELL = Cell(
    library="torch",
    forward="eigh",
    backward="none",
    function="sqrt",
    problem=problems.canonical("wishart(ratio=2)"),
    size=8,
    batch=4,
    iterations=None,
    backward_iterations=None,
    options="",
    precision="float64",
    device="cpu",
    seed=0,
)


FAST = Session(
    Settings(Policy(min_seconds=0, min_samples=2, max_seconds=0.05, warmup_seconds=0, interval=1))
)


def rows(cell: Cell, session: Session = FAST) -> tuple[Measurement, ...]:
    return measure(cell, session).measurements


def only(cell: Cell, session: Session = FAST) -> Measurement:
    found = {(m.status, m.reason) for m in rows(cell, session)}
    assert len(found) == 1, found
    return rows(cell, session)[0]
