"""`Summary`, the counts, times and exit code of a finished run."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mssbench.errors import ExitCode
from mssbench.records.measurement import MEASURED, Status


@dataclass
class Summary:
    """Counts, times and exit code of a run. The counts are filled in while the run goes on."""

    path: Path
    cells: int
    kept: int = 0  # cells that an earlier run had measured
    standing: Counter[str] = field(default_factory=Counter)  # statuses of the kept cells
    statuses: Counter[str] = field(default_factory=Counter)  # statuses of the cells of this run
    spent: Counter[str] = field(default_factory=Counter)  # seconds, by the words in MEASURING
    seconds: float = 0.0  # wall time of the run
    drift: float | None = None  # of the machine's ceilings, see run.finish.drift
    noise: Counter[str] = field(default_factory=Counter)  # number of rows by noise class
    interrupted: bool = False  # whether a signal ended the run
    over: bool = False  # whether the time limit ended the run
    left: int = 0  # cells that were not reached before the run ended
    thin: int = 0  # cells that were measured in fewer passes than the suite asks for
    left_over: int = 0  # cells with rows of an earlier run that the suite no longer has
    unlogged: str = ""  # why tracebacks could not be kept, as a sentence

    @property
    def own(self) -> float:
        """Seconds of overhead: the wall time without the times in `spent`."""
        return max(0.0, self.seconds - self.spent.total())  # several GPUs may work at a time

    @property
    def complete(self) -> bool:
        """Whether every cell has been measured in all passes, each of which repeats all cells."""
        return not (self.left or self.thin)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the run, from the statuses of its cells and of those of an earlier run.

        A time limit is a planned end: cells that were not reached before it do not count here. The
        command `check` reports their rows as broken.
        """
        if self.interrupted:
            return ExitCode.INTERRUPTED

        statuses = self.statuses + self.standing
        if not any(statuses[status] for status in MEASURED):
            return ExitCode.NOTHING_MEASURED
        if any(statuses[status] for status in BROKEN):
            return ExitCode.BROKEN
        return ExitCode.PASS


MEASURING = ("problem", "reference", "warmup", "samples")  # the parts of a cell's wall time
BROKEN = (Status.CRASHED, Status.TIMEOUT, Status.OOM)
