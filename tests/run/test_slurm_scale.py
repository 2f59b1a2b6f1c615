"""A run of a hundred thousand cells on a cluster: what the driver itself costs."""

import resource
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import write_suite

from mssbench.measure.code_hash import code_hash
from mssbench.records.measurement import Measurement, Row, Status
from mssbench.records.timing import Timing
from mssbench.results.folder import RunFolder
from mssbench.results.parts import PART
from mssbench.run.slurm.shards_folder import ShardsFolder
from mssbench.run.slurm.work import Measuring
from mssbench.suite import suite as suites
from mssbench.suite.suite import Suite

METHODS = "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor', 'numpy/pade']"
CELLS, SHARDS = 100_000, 200
# What the issue of this engine allows. It took 38 s and 1 GB on two cores.
CPU_SECONDS, MEGABYTES = 60.0, 2000.0
TIMING = Timing((1e-3, 1.1e-3, 1.2e-3), 1, 1e-3)
VALUES = {"root_error": 1e-15, "products": 3.0, "noise": "quiet"}


def of(folder: Path) -> Measuring:
    """The work of the suite in a folder, as a new start of the driver has it."""
    rest: dict[str, Any] = {"also": [], "python": None, "minutes": None}
    return Measuring(
        suites.load(folder / "tiny.toml", auto="cpu"),
        folder / "out",
        ShardsFolder.beside(folder / "out"),
        count=SHARDS,
        rest=rest,
        watch=lambda _: None,
    )


def measure(folder: Path, part: Suite, number: int, *, killed: bool) -> None:
    """Write what a task leaves. killed: before it could write its table anew."""
    identity = {"environment": "e" * 12, "run_id": f"{number:012d}"}
    rows: list[Row] = [
        Measurement(cell, "forward", "wall", "hot", Status.OK, "", VALUES, TIMING).row(
            code_hash=code_hash(cell), **identity
        )
        for cell in part.cells
    ]
    shard = part.part()
    assert shard is not None
    with RunFolder(folder) as run:
        run.write_facts(
            {
                "environments": {"e" * 12: {"cpu": "x"}},
                "runs": {f"{number:012d}": {"started": "2026-01-01"}},
                PART: shard.as_data(),
            }
        )
        run.write_suite(suites.dump(part.document))
        run.append(rows, [[*TIMING.samples]] * len(rows))
        if not killed:
            run.finish(rows)


@pytest.mark.exhaustive
def test_the_driver_of_a_hundred_thousand_cells_costs_a_minute(tmp_path: Path) -> None:
    write_suite(tmp_path, METHODS, seeds=CELLS // 4)
    begun = time.process_time()
    first = of(tmp_path)
    first.follow(())
    assert sum(first.missing(i + 1) for i in range(SHARDS)) == CELLS
    spent = time.process_time() - begun

    for number, part in enumerate(first.suite.in_shards(SHARDS), start=1):
        folder = tmp_path / "out-shards" / f"{number}-of-{SHARDS}"
        measure(folder, part, number, killed=number == SHARDS)

    begun = time.process_time()
    again = of(tmp_path)
    again.follow(())
    assert sum(again.missing(i + 1) for i in range(SHARDS)) == 0
    again.join({})
    assert again.summary().statuses == {"ok": CELLS}
    spent += time.process_time() - begun
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert spent < CPU_SECONDS
    assert megabytes < MEGABYTES
