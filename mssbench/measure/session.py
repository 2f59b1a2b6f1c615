"""State that a measuring process keeps from one cell (methods, problem, size, ...) to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mssbench.measure.instruments.ceilings import Ceilings
from mssbench.measure.instruments.disturbance import Watchman
from mssbench.measure.instruments.gemm import ProductTimes
from mssbench.records.policy import Policy

if TYPE_CHECKING:
    from mssbench.measure.prepared import Batch

# cell_id, and id() of the functions of forward and backward, since tests register other methods
# under a known name.
CellKey: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True)
class Settings:
    """How a run measures; the same for all its cells."""

    policy: Policy = field(default_factory=Policy)
    max_error: float = 0.1  # with a larger error, not one digit is right: `inaccurate`


@dataclass
class Session:
    """The state of one worker, made when it starts and passed to everything that measures.

    settings: how the run measures.
    arms: number of processes that take turns on the device, including this one; NVML counts all of
        them as users of the GPU.
    """

    settings: Settings = field(default_factory=Settings)
    arms: int = 1
    ceilings: Ceilings = field(default_factory=Ceilings)
    products: ProductTimes = field(default_factory=ProductTimes)
    # Memory and counts of a call by phase; they are the same in every pass over a suite.
    work: dict[CellKey, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    # Why a method seems to remember answers, according to the counts; empty if it does not.
    remembering: dict[CellKey, str] = field(default_factory=dict)
    # Kernels of a call, by phase.
    launches: dict[CellKey, Mapping[str, int | None]] = field(default_factory=dict)
    batch: "Batch | None" = None  # of the latest cell; the next cells often share it

    def __post_init__(self) -> None:
        self.watchman = Watchman(self.arms)

    def forget_inputs(self) -> None:
        """Drop the inputs, which may have been changed, so that the next cell makes new ones."""
        if self.batch is not None:
            self.batch.forget_inputs()
