"""What a run came to."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mssbench.records.measurement import MEASURED, Status


@dataclass
class Summary:
    """What a run came to."""

    path: Path
    cells: int
    kept: int = 0  # cells that an earlier run had measured
    standing: Counter[str] = field(default_factory=Counter)  # statuses of those
    statuses: Counter[str] = field(default_factory=Counter)  # of the cells of this run
    spent: Counter[str] = field(default_factory=Counter)  # seconds, by what in MEASURING
    seconds: float = 0.0
    drift: float | None = None  # of the machine's ceilings, largest change since the first
    noise: Counter[str] = field(default_factory=Counter)  # classes of the rows
    interrupted: bool = False
    over: bool = False  # its time, before all was measured

    @property
    def own(self) -> float:
        """Seconds that went into nothing that a measurement is made of."""
        return max(0.0, self.seconds - self.spent.total())  # several GPUs spend at once

    @property
    def exit_code(self) -> int:
        """0 fine, 4 a cell broke that should have run, 6 nothing measured, 130 interrupted.

        Of all cells: a failure stays one when a later run keeps its row.
        """
        if self.interrupted:
            return 130
        found = self.statuses + self.standing
        if not any(found[s] for s in MEASURED):
            return 6
        return 4 if any(found[s] for s in BROKEN) else 0


MEASURING = ("problem", "reference", "warmup", "samples")  # what a cell's wall time is for
BROKEN = (Status.CRASHED, Status.TIMEOUT, Status.OOM)
