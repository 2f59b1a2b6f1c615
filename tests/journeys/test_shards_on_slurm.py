"""A user who measures the shards of a suite as a job array of Slurm, with the script of the page.

The Slurm is a real one, see helpers/slurm.py. The workers are stand-ins, which measure nothing.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.root import ROOT
from helpers.runs import key, load, measured, orphans, stand_in, table, until, write_suite
from helpers.slurm import Slurm

from mssbench import results
from mssbench.records.cell import Cell
from mssbench.results.parts import PART
from mssbench.results.rows import TABLE

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "cluster.md").read_text().partition("## Slurm by hand")[2]
SCRIPT, COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.S)[:2]
SHARDS = 3  # in place of the eight of the page
METHODS = "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor']"  # times four seeds: 12 cells


def in_small(text: str) -> str:
    """A text of the page for this suite, for fewer shards, and for nodes with one core."""
    changes = {
        "N=8": f"N={SHARDS}",
        "1-8": f"1-{SHARDS}",
        "--array=3,5": "--array=2",
        "--cpus-per-task=8": "--cpus-per-task=1",
        "run standard": "run tiny.toml",
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the script of the page, a suite, and the environment that the script enters."""
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    write_suite(tmp_path, METHODS, seeds=4)
    stand_in(tmp_path, seconds=0.4)
    program = programs / "mssbench"
    program.write_text(
        '#!/bin/sh\ncase $1 in run) set -- "$@" --python ./stand_in ;; esac\n'
        f'exec {sys.executable} -m mssbench "$@"\n'
    )
    program.chmod(0o755)
    (tmp_path / "shards.sh").write_text(in_small(SCRIPT))
    yield tmp_path
    assert orphans(tmp_path / "locks") == []


def submitted(slurm: Slurm, place: Path, *lines: str) -> None:
    """Type lines into a shell, and wait until the jobs that they submit have ended."""
    slurm.call("bash", "-euc", "\n".join(lines), cwd=place)
    slurm.wait()


def cells(place: Path) -> tuple[Cell, ...]:
    return load(place / "tiny.toml").cells


def test_a_job_array_and_the_job_that_merges_give_one_table(slurm: Slurm, place: Path) -> None:
    array, merge, again = in_small(COMMANDS).splitlines()
    submitted(slurm, place, array, merge)
    whole = place / "results" / "standard"
    said = "\n".join(log.read_text() for log in place.glob("*.log"))
    assert (whole / TABLE).exists(), said
    rows = table(whole)
    assert [row["cell_id"] for row in rows] == [cell.cell_id for cell in cells(place)], said
    assert {row["status"] for row in rows} == {"ok"}
    found = results.open(whole)
    assert PART not in found.facts
    assert {run["shard"] for run in found.facts["runs"].values()} == {"1/3", "2/3", "3/3"}

    before = (place / "results" / "standard-2" / TABLE).read_bytes()
    submitted(slurm, place, again)
    assert (place / "results" / "standard-2" / TABLE).read_bytes() == before
    assert "nothing left to measure" in max(place.glob("*-2.log")).read_text()


@pytest.mark.exhaustive
def test_a_task_that_is_cancelled_goes_on_where_it_was(slurm: Slurm, place: Path) -> None:
    array, merge, again = in_small(COMMANDS).splitlines()
    job = slurm.call("bash", "-euc", f"{array}\necho $array", cwd=place)
    second = place / "results" / "standard-2"
    assert until((second / TABLE).exists, 120), slurm.logs()
    slurm.call("scancel", f"{job}_2")
    slurm.wait()
    kept = {name: row["run_id"] for name, row in measured(second).items()}
    assert 0 < len(kept) < len(cells(place)) / SHARDS

    submitted(slurm, place, again)
    submitted(slurm, place, merge.replace('--dependency="afterany:$array" ', ""))
    rows = table(place / "results" / "standard")
    assert [row["cell_id"] for row in rows] == [cell.cell_id for cell in cells(place)]
    assert {row["status"] for row in rows} == {"ok"}, "no cell is blamed for the end of its task"
    now: dict[Any, str] = {key(row): row["run_id"] for row in rows}
    assert kept.items() <= now.items(), "what was measured is not measured again"
