"""What a process that measures remembers from one cell to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from mssbench.measure.instruments.ceilings import Ceilings
from mssbench.measure.instruments.disturbance import Watchman
from mssbench.measure.instruments.gemm import ProductTimes
from mssbench.records.policy import Policy

if TYPE_CHECKING:
    from mssbench.measure.prepared import Batch

# cell_id, and id() of the forward: tests of the harness register others under a known name.
Place: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class Settings:
    """How a run measures; the same for all its cells."""

    policy: Policy = field(default_factory=Policy)
    max_error: float = 0.1  # a root or gradient without one right digit is `inaccurate`


@dataclass
class Session:
    """One for each worker, made when it starts and handed to everything that measures.

    settings: how the run measures. arms: how many processes take turns on the device, this one
    among them; NVML counts all of them as users of the GPU.
    """

    settings: Settings = field(default_factory=Settings)
    arms: int = 1
    ceilings: Ceilings = field(default_factory=Ceilings)
    products: ProductTimes = field(default_factory=ProductTimes)
    # Memory and counts of a call by phase, and its kernels: the same in every pass over a suite.
    work: dict[Place, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    # Why a method is taken to remember answers, by what was counted; empty where it is not.
    remembering: dict[Place, str] = field(default_factory=dict)
    launches: dict[Place, Mapping[str, int | None]] = field(default_factory=dict)
    batch: "Batch | None" = None  # of the latest cell: those after it often have the same

    def __post_init__(self) -> None:
        self.watchman = Watchman(self.arms)

    def forget_inputs(self) -> None:
        """Drop the inputs, so that the next cell makes new ones: these may have been changed."""
        if self.batch is not None:
            self.batch.forget_inputs()
