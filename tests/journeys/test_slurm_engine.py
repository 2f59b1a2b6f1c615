"""A user who measures a suite on a cluster by `--engine slurm`, and what may happen to it.

The Slurm is a real one with two nodes, see helpers/slurm.py. The workers are stand-ins, which
measure nothing and misbehave on demand.
"""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.runs import (
    climate,
    finished,
    in_time,
    key,
    load,
    measured,
    orphans,
    stand_in,
    started,
    table,
    until,
    wish,
    write_suite,
)
from helpers.slurm import MODELS, NODES, Slurm

from mssbench import results
from mssbench.results.parts import PART
from mssbench.run.training_folder import TABLES

pytestmark = pytest.mark.slow

MANY = "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor', 'numpy/pade']"
# One cell of each kind of misfortune, by forward.
DEEDS = {"denman_beavers": "exit", "chebyshev": "hang", "batched_qr": "oom", "pade": "kill"}
TIMEOUT = 3  # seconds of a cell
TRAININGS = """
name = "tiny"
[training]
task = "smallcov"
seed = [0, 1]
epochs = 2
[[method]]
forward = "eigh"
backward = "loewner"
"""


@pytest.fixture
def place(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a run, in which the commands of Slurm are those of the test's own cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    yield tmp_path
    slurm.call("scancel", "--me")
    slurm.wait(60)
    assert orphans(tmp_path / "locks") == []


def suite(place: Path, *methods: str, seeds: int = 4) -> Path:
    return write_suite(place, *(methods or (MANY,)), seeds=seeds, timeout=TIMEOUT)


def options(place: Path, *more: object, seconds: float = 0.3, shards: int = 4) -> tuple[Any, ...]:
    """The arguments of a run on the cluster by stand-ins whose cells take so many seconds."""
    python = stand_in(place, f"stand_in_{seconds}")
    wished = ("--engine", "slurm", "--python", python, "--shards", shards)
    return (place / "tiny.toml", *wished, *more)


def begun(place: Path) -> Counter[str]:
    """How many cells each process of a worker has begun."""
    return Counter(words[2] for words in in_time(place / "log") if words[1] == "begin")


def rows_so_far(place: Path) -> int:
    """The number of rows that the tasks have written."""
    return sum(len(measured(folder)) for folder in place.glob("results/tiny-shards/*-of-*"))


def test_a_suite_gives_the_same_statuses_and_errors_as_on_one_machine(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [f"forward = 'numpy/{name}'\nseed = 0" for name in DEEDS]
    suite(place, "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor']", *bad, seeds=12)
    wish(monkeypatch, do=DEEDS, seconds=0.2, log=place / "log")
    assert len(load(place / "tiny.toml").cells) == 40

    done = finished(*options(place))
    assert done.returncode == 4, done.stderr
    here = finished(place / "tiny.toml", "--python", place / "stand_in_0.3", "--out", "here")
    assert here.returncode == 4
    there = table(place / "results" / "tiny")
    assert climate(there) == climate(table(place / "here"))
    found = {row["forward"]: row["status"] for row in there}
    assert {name: found[name] for name in DEEDS} == {
        "denman_beavers": "crashed",
        "chebyshev": "timeout",
        "batched_qr": "oom",
        "pade": "crashed",
    }
    assert Counter(row["status"] for row in there)["ok"] == 36
    assert PART not in results.open(place / "results" / "tiny").facts


def test_each_node_measures_one_cell_at_a_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(place)
    wish(monkeypatch, seconds=0.3, log=place / "log")
    done = finished(*options(place))
    assert done.returncode == 0, done.stderr
    assert "16 of 16 cells to measure, in 4 shards on Slurm" in done.stderr
    assert "16 cells: 16 ok · 4 shards" in done.stderr

    # A node is known by its folder of locks; two tasks of one node would share a worker's lock.
    nodes = {path.name for path in (place / "locks").iterdir()}
    assert nodes == set(NODES)
    at_once, most = set[str](), 0
    for _, what, process, *_ in in_time(place / "log"):
        if what == "begin":
            at_once.add(process)
        elif what == "end":
            at_once.discard(process)
        most = max(most, len(at_once))
    assert most == len(NODES), "both nodes measure, and each one cell at a time"
    assert begun(place).total() == 16

    again = finished(*options(place))
    assert again.returncode == 0
    assert "0 of 16 cells to measure" in again.stderr
    assert begun(place).total() == 16, "nothing is measured twice"


def test_tasks_that_are_cancelled_are_submitted_again(
    slurm: Slurm, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(place)
    wish(monkeypatch, seconds=0.5, log=place / "log")
    with started(*options(place)) as driver:
        assert until(lambda: rows_so_far(place) >= 2), slurm.logs()
        kept = {name: row["run_id"] for name, row in all_measured(place).items()}
        waiting = slurm.call("squeue", "--noheader", "--array", "--format=%i").split()
        slurm.call("scancel", *waiting[::2])
        assert driver.wait(180) == 0
    rows = table(place / "results" / "tiny")
    assert [row["status"] for row in rows] == ["ok"] * 16
    assert kept.items() <= {key(row): row["run_id"] for row in rows}.items()


def test_a_driver_that_is_killed_finds_its_tasks_again(
    slurm: Slurm, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(place)
    wish(monkeypatch, seconds=0.5, log=place / "log")
    with started(*options(place)) as driver:
        assert until(lambda: rows_so_far(place) >= 2), slurm.logs()
        driver.kill()
    done = finished(*options(place))
    assert done.returncode == 0, done.stderr
    assert "of an earlier start" in done.stderr
    assert {row["status"] for row in table(place / "results" / "tiny")} == {"ok"}
    assert begun(place).total() == 16, "nothing was submitted again"
    assert len(list(place.glob("results/tiny-shards/tasks/*submission.sh"))) == 1


@pytest.mark.exhaustive
def test_ctrl_c_cancels_the_tasks_and_keeps_what_they_have_measured(
    slurm: Slurm, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(place)
    wish(monkeypatch, seconds=0.5, log=place / "log")
    with started(*options(place)) as driver:
        assert until(lambda: rows_so_far(place) >= 2), slurm.logs()
        driver.send_signal(signal.SIGINT)
        _, err = driver.communicate(timeout=120)
    assert driver.returncode == 130, err
    assert slurm.is_idle()
    rows = table(place / "results" / "tiny")
    assert len(rows) == 16, "every cell has a row"
    counts = Counter(row["status"] for row in rows)
    assert set(counts) == {"ok", "interrupted"}, "no cell is blamed for the end of its task"
    assert "interrupted, what was measured is saved" in err
    assert "This goes on:" in err

    kept = {key(row): row["run_id"] for row in rows if row["status"] == "ok"}
    assert finished(*options(place)).returncode == 0
    rows = table(place / "results" / "tiny")
    assert {row["status"] for row in rows} == {"ok"}
    assert kept.items() <= {key(row): row["run_id"] for row in rows}.items()


def test_a_node_that_is_lost_costs_no_cell(
    slurm: Slurm, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(place)
    wish(monkeypatch, seconds=0.5, log=place / "log")
    try:
        with started(*options(place)) as driver:
            assert until(lambda: rows_so_far(place) >= 2), slurm.logs()
            slurm.lose(NODES[1])
            assert driver.wait(240) == 0, slurm.logs()
    finally:
        slurm.bring_back(NODES[1])
    rows = table(place / "results" / "tiny")
    assert [row["status"] for row in rows] == ["ok"] * 16
    assert len({key(row) for row in rows}) == 16


def test_each_model_of_gpu_has_an_array_and_a_run_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(place, "forward = ['numpy/eigh', 'numpy/svd']", seeds=2)
    done = finished(*options(place, "--gpus", ",".join(MODELS), "--device", "cpu", shards=2))
    assert done.returncode == 0, done.stderr
    for model, node in zip(MODELS, NODES, strict=True):
        assert len(table(place / "results" / f"tiny-{model}")) == 4
        ends = (place / "results" / f"tiny-{model}-shards" / "ends").glob("*.json")
        assert {f'"node": "{node}"' in end.read_text() for end in ends} == {True}


def test_what_slurm_refuses_is_told_in_its_words(place: Path) -> None:
    suite(place)
    done = finished(*options(place, "--slurm", "partition=nowhere"))
    assert done.returncode == 2
    assert "sbatch has refused the jobs (partition=nowhere): " in done.stderr
    assert "nowhere" in done.stderr or "artition" in done.stderr
    assert not (place / "results" / "tiny").exists()

    done = finished(*options(place, "--slurm", "partitoin=tests"))
    assert done.returncode == 2
    assert "Did you mean 'partition'?" in done.stderr


def test_both_sides_of_a_comparison_are_measured_on_one_node(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(place, "forward = 'numpy/eigh'", seeds=2)
    base, new = stand_in(place, "base"), stand_in(place, "new", slower={"eigh": 2.0})
    words = ("ab", "tiny.toml", "--base", base, "--new", new, "--engine", "slurm")
    done = subprocess.run(
        [sys.executable, "-m", "mssbench", *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "2 slower" in done.stdout
    assert len([*(place / "locks").iterdir()]) == 1, "one node has measured"
    assert not list(place.glob(".slurm-*"))


@pytest.mark.exhaustive
def test_networks_that_are_trained_there_have_the_numbers_of_this_machine(place: Path) -> None:
    (place / "tiny.toml").write_text(TRAININGS)
    words = [sys.executable, "-m", "mssbench", "train", "tiny.toml"]
    for more in (["--engine", "slurm"], ["--out", "here"]):
        done = subprocess.run([*words, *more], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    for name in TABLES:
        there, here = (pd.read_csv(place / folder / name) for folder in ("results/tiny", "here"))
        # Different processes see a different load, and the times are their own.
        others = [c for c in here.columns if c not in ("seconds", "root_seconds", "environment")]
        pd.testing.assert_frame_equal(there[others], here[others], check_exact=True)
    ends = (place / "results" / "tiny-shards" / "ends").glob("*.json")
    assert {json.loads(end.read_text())["node"] for end in ends} == set(NODES)


def all_measured(place: Path) -> dict[tuple[str, ...], Any]:
    """The rows that all tasks have written, by key."""
    return {
        name: row
        for folder in place.glob("results/tiny-shards/*-of-*")
        for name, row in measured(folder).items()
    }
