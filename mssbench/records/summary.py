"""What a run came to."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mssbench.errors import ExitCode
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
    drift: float | None = None  # of the machine's ceilings, see run.finish.drift
    noise: Counter[str] = field(default_factory=Counter)  # classes of the rows
    interrupted: bool = False
    over: bool = False  # its time, before all was measured
    left: int = 0  # cells that are to be measured still: the run ended before them
    thin: int = 0  # cells that were measured, in fewer passes than the suite asks for
    left_over: int = 0  # cells with rows of an earlier run that the suite no longer has
    unlogged: str = ""  # why tracebacks could not be kept, as a sentence

    @property
    def own(self) -> float:
        """Seconds that went into nothing that a measurement is made of."""
        return max(0.0, self.seconds - self.spent.total())  # several GPUs spend at once

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be measured."""
        return not (self.left or self.thin)

    @property
    def exit_code(self) -> ExitCode:
        """Whether a cell failed that should have run; one that an earlier run has kept counts.

        A limit of time is a planned end: with cells left the code is that of the others. A gate
        compares rows, and `check` calls one that was not reached broken.
        """
        if self.interrupted:
            return ExitCode.INTERRUPTED

        statuses = self.statuses + self.standing
        if not any(statuses[status] for status in MEASURED):
            return ExitCode.NOTHING_MEASURED
        if any(statuses[status] for status in BROKEN):
            return ExitCode.BROKEN
        return ExitCode.PASS


MEASURING = ("problem", "reference", "warmup", "samples")  # what a cell's wall time is for
BROKEN = (Status.CRASHED, Status.TIMEOUT, Status.OOM)
