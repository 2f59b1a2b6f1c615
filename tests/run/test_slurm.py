"""Runs on a cluster, without a cluster: what is submitted, submitted again, joined and refused."""

import fcntl
import json
import os
import shutil
import signal
import threading
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_slurm import FakeSlurm
from helpers.runs import climate, key, stand_in, table, wish, write_suite
from helpers.tables import called, exit_code

from mssbench import results
from mssbench.cli import slurm_task
from mssbench.cli.on_slurm import Cluster
from mssbench.engines.slurm.jobs import Task
from mssbench.errors import RunError
from mssbench.records.summary import Summary
from mssbench.results.parts import PART, part_of, sentence
from mssbench.run import exchange, run
from mssbench.run.signals import Takedown
from mssbench.run.slurm import driver, shards_folder, work
from mssbench.run.slurm.shards_folder import ShardsFolder
from mssbench.suite.suite import Suite

METHODS = "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor']"  # times four seeds: 12 cells


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a suite, locks of its own, and a driver that does not wait."""
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "_LEAST_POLL", 0.0)
    monkeypatch.setattr(driver, "_MOST_POLL", 0.0)
    monkeypatch.setattr(driver, "_END_SECONDS", 1.0)
    monkeypatch.setattr(driver, "_LATE_SECONDS", 0.0)
    write_suite(tmp_path, METHODS, seeds=4, timeout=3)
    stand_in(tmp_path)
    return tmp_path


@pytest.fixture
def measured(fake_slurm: FakeSlurm, capsys: Any) -> Any:
    """A function that types the command: exit code and what it says on stderr, on one line."""

    def typed(*more: object) -> tuple[int, str]:
        shards = () if "--shards" in more else ("--shards", 3)
        common = ("tiny.toml", "--engine", "slurm", "--python", "./stand_in")
        given = () if more == ("--shards", "") else more
        code, _, err = called(capsys, "run", *common, *shards, *given)
        return code, " ".join(err.split())

    return typed


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the command, measured once."""
    here = tmp_path_factory.mktemp("stored")
    write_suite(here, METHODS, seeds=4, timeout=3)
    stand_in(here)
    with pytest.MonkeyPatch.context() as patch, chdir(here):
        patch.setenv("MSSBENCH_LOCKS", str(here / "locks"))
        patch.setattr(driver, "_LEAST_POLL", 0.0)
        patch.setattr(driver, "_MOST_POLL", 0.0)
        FakeSlurm().take_the_place(patch)
        words = ("tiny.toml", "--engine", "slurm", "--python", "./stand_in", "--shards", "3")
        assert exit_code("run", *words) == 0
    return here / "results"


@pytest.fixture
def done(stored: Path, place: Path) -> None:
    """What the command leaves, in the folder of this test."""
    shutil.copytree(stored, place / "results")


def statuses(folder: str = "results/tiny") -> Counter[str]:
    return Counter(row["status"] for row in table(Path(folder)))


def test_the_joined_table_is_that_of_one_run(measured: Any, fake_slurm: FakeSlurm, capsys: Any):
    code, err = measured()
    assert code == 0
    assert "tiny: 12 of 12 cells to measure, in 3 shards on Slurm" in err
    assert "12 cells: 12 ok · 3 shards" in err
    assert fake_slurm.shards == [[1, 2, 3]]
    assert called(capsys, "run", "tiny.toml", "--python", "./stand_in", "--out", "here")[0] == 0
    assert climate(table(Path("results/tiny"))) == climate(table(Path("here")))
    found = results.open(Path("results/tiny"))
    assert PART not in found.facts
    assert {run["shard"] for run in found.facts["runs"].values()} == {"1/3", "2/3", "3/3"}
    shards = sorted(Path("results/tiny-shards").glob("*-of-3"))
    assert called(capsys, "merge", *shards, "--out", "m")[0] == 0
    assert climate(table(Path("m"))) == climate(table(Path("here")))


def test_a_second_start_submits_nothing_that_is_there(
    done: Any, measured: Any, fake_slurm: FakeSlurm
):
    before = table(Path("results/tiny"))
    code, err = measured()
    assert code == 0
    assert "0 of 12 cells to measure" in err
    assert fake_slurm.shards == []
    assert table(Path("results/tiny")) == before


@pytest.mark.slow
def test_a_task_that_is_killed_is_submitted_again(measured: Any, fake_slurm: FakeSlurm):
    fake_slurm.kill = {2}
    fake_slurm.do = lambda: fake_slurm.kill.clear() if len(fake_slurm.submitted) == 2 else None
    assert measured()[0] == 0
    assert fake_slurm.shards == [[1, 2, 3], [2]]
    assert statuses() == {"ok": 12}


@pytest.mark.slow
def test_tasks_that_are_all_lost_at_once_are_submitted_again(measured: Any, fake_slurm: FakeSlurm):
    fake_slurm.kill = {1, 2, 3}
    fake_slurm.do = lambda: fake_slurm.kill.clear() if len(fake_slurm.submitted) == 2 else None
    assert measured()[0] == 0
    assert fake_slurm.shards == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.slow
def test_tasks_that_are_stopped_before_their_first_cell_are_continued(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    class Stopped(Takedown):
        def asked(self) -> bool:
            return len(fake_slurm.submitted) < 3

    monkeypatch.setattr(run, "Takedown", Stopped)
    code, err = measured()
    assert code == 4
    assert "is only a part" not in err
    assert statuses() == {"interrupted": 12}
    assert fake_slurm.shards == [[1, 2, 3]] * 2
    assert measured()[0] == 0
    assert fake_slurm.shards == [[1, 2, 3]] * 3
    assert statuses() == {"ok": 12}


def test_a_refusal_of_a_later_array_loses_nothing(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    from mssbench.engines.slurm import jobs

    submit = fake_slurm.submit

    def refuse_the_second(*words: Any, **others: Any) -> None:
        if fake_slurm.submitted:
            raise RunError("sbatch has refused the jobs: too many of them")
        submit(*words, **others)

    monkeypatch.setattr(jobs, "submit", refuse_the_second)
    fake_slurm.kill = {2}
    code, err = measured()
    assert code == 4
    assert "4 cells without a result: sbatch has refused the jobs: too many of them" in err
    assert statuses() == {"ok": 8, "interrupted": 4}


@pytest.mark.slow
def test_cells_without_a_result_become_rows_with_the_reason(
    measured: Any, fake_slurm: FakeSlurm, capsys: Any
):
    fake_slurm.kill = {2}
    code, err = measured()
    assert code == 4
    assert fake_slurm.shards == [[1, 2, 3], [2]], "what did not get on once is not tried for ever"
    assert statuses() == {"ok": 8, "interrupted": 4}
    rows = [row for row in table(Path("results/tiny")) if row["status"] == "interrupted"]
    assert "4 cells without a result: the tasks ended without a result; " in err
    assert "1_0_log.out ends with: Bus error" in err
    assert {row["reason"].partition(";")[0] for row in rows} == {"the tasks ended without a result"}
    part = part_of(results.open(Path("results/tiny")).facts)
    assert part is not None
    assert [*part.lacking] == ["2/3"]
    said = sentence(results.open(Path("results/tiny")).facts)
    assert said.endswith("2 shards of 3, 8 of 12 cells. `mssbench merge` joins the shards.")
    whole = [key(row) for row in table(Path("results/tiny"))]
    fake_slurm.kill = set()
    assert measured()[0] == 0
    assert [key(row) for row in table(Path("results/tiny"))] == whole, "the order is the suite's"
    assert statuses() == {"ok": 12}
    assert PART not in results.open(Path("results/tiny")).facts


def test_a_task_that_gets_on_is_submitted_three_times(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    """Each task measures one cell more, so that there are as many rounds as there may be."""
    count = iter(range(100, 0, -10))
    monkeypatch.setattr(work.Measuring, "missing", lambda *_: next(count) if _[1] == 1 else 0)
    fake_slurm.kill = {1, 2, 3}
    measured()
    assert fake_slurm.shards == [[1]] * driver._ROUNDS


@pytest.mark.slow
def test_a_task_that_cannot_do_its_shard_says_why_and_is_not_repeated(
    measured: Any, fake_slurm: FakeSlurm
):
    def damage() -> None:
        if fake_slurm.submitted:
            Path("results/tiny-shards/suite.toml").write_text("name = 'other'")

    fake_slurm.do = damage
    code, err = measured()
    assert code == 2
    assert "mssbench: nothing was measured: the suite in " in err
    assert "has other cells on" in err
    assert fake_slurm.shards == [[1, 2, 3]]
    assert not Path("results/tiny").exists()


@pytest.mark.slow
def test_a_limit_of_time_is_one_of_each_task_and_a_planned_end(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    measure = slurm_task.measure

    def in_time(part: Suite, folder: Path, **settings: Any) -> Summary:
        """The second shard has no time at all, and the others have enough."""
        assert settings["minutes"] == 0.5
        second = part.shard is not None and part.shard.number == 2
        return measure(part, folder, **settings | {"minutes": 0.0 if second else 5.0})

    monkeypatch.setattr(slurm_task, "measure", in_time)
    code, err = measured("--minutes", "0.5")
    assert code == 0
    assert "the time was over. 12 cells: 8 ok, 4 interrupted" in err
    assert fake_slurm.shards == [[1, 2, 3]], "the same limit would end it in the same way"
    rows = [row for row in table(Path("results/tiny")) if row["status"] == "interrupted"]
    assert {row["reason"] for row in rows} == {"the time was over before this cell"}
    assert "Not complete: 4 of 12 cells are left" in err
    said = sentence(results.open(Path("results/tiny")).facts)
    assert "3 shards of 3, 8 of 12 cells." in said
    assert said.endswith(" The others have no result.")
    assert fake_slurm.submitted[0]["minutes"] == 1 + work._SPARE_MINUTES


@pytest.mark.slow
def test_a_lost_task_is_no_planned_end(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    write_suite(Path.cwd(), METHODS, seeds=4, timeout=30)
    wish(monkeypatch, gate="never")
    fake_slurm.kill = {2}
    code, err = measured("--minutes", "0.08")
    assert code == 4
    assert "cells without a result: the tasks ended without a result" in err


@pytest.mark.exhaustive
def test_cells_are_retried_once(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    wish(monkeypatch, do={"taylor": "exit"}, log="log")
    assert measured()[0] == 4
    assert statuses() == {"ok": 8, "crashed": 4}
    assert fake_slurm.shards == [[1, 2, 3]], "a cell that has crashed has its result"
    assert measured()[0] == 4
    assert fake_slurm.shards == [[1, 2, 3]]
    code, err = measured("--retry", "crashed")
    assert code == 4
    assert "without a result" not in err
    assert fake_slurm.shards == [[1, 2, 3], [1, 2, 3]]
    assert [each["retry"] for each in fake_slurm.submitted] == [(), ("crashed",)]


@pytest.mark.slow
def test_a_signal_cancels_the_tasks_and_joins_what_is_there(measured: Any, fake_slurm: FakeSlurm):
    looks = iter(range(100))

    def stop() -> None:
        if fake_slurm.submitted and next(looks) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    fake_slurm.do = stop
    code, err = measured()
    assert code == 130
    assert fake_slurm.cancelled == [fake_slurm.submitted[0]["name"]]
    found = statuses()
    assert found["ok"] in (4, 8)
    assert found["interrupted"] == 12 - found["ok"]
    reasons = {row["reason"] for row in table(Path("results/tiny")) if row["reason"]}
    assert reasons == {"the run was stopped before this cell"}
    assert "interrupted, what was measured is saved. 12 cells: " in err
    fake_slurm.do = lambda: None
    assert measured()[0] == 0
    assert statuses() == {"ok": 12}


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_signal_before_the_first_cell_is_no_misuse(
    fake_slurm: FakeSlurm, capsys: Any, words: tuple[str, ...]
):
    def stop() -> None:
        if fake_slurm.submitted and not fake_slurm.cancelled:
            os.kill(os.getpid(), signal.SIGINT)

    fake_slurm.kill = {1, 2, 3}
    fake_slurm.do = stop
    command = ("run", "tiny.toml", "--engine", "slurm", "--python", "./stand_in", "--shards", "3")
    code, out, err = called(capsys, *command, *words)
    assert code == 130, err
    assert "interrupted before a cell was measured" in err
    assert "Not complete: 12 of 12 cells are left." in " ".join(err.split())
    if words:
        assert json.loads(out)["rows"] == []


@pytest.mark.slow
def test_a_task_that_slurm_starts_again_is_declined(measured: Any, fake_slurm: FakeSlurm):
    fake_slurm.restarted = []
    again = Task("7_1", "PENDING", 1, "BeginTime", "")
    running = Task("7_2", "RUNNING", 1, "None", "n1")

    def restart() -> None:
        if fake_slurm.submitted and "7_1" not in fake_slurm.cancelled:
            fake_slurm.restarted = [again, running]
        else:
            fake_slurm.restarted = []

    fake_slurm.do = restart
    assert measured()[0] == 0
    assert fake_slurm.cancelled == ["7_1"]


@pytest.mark.slow
def test_a_slurm_that_falls_silent_is_waited_for(measured: Any, fake_slurm: FakeSlurm):
    looks = iter(range(100))

    def fall_silent() -> None:
        fake_slurm.silent = bool(fake_slurm.submitted) and next(looks) < 5

    fake_slurm.do = fall_silent
    assert measured()[0] == 0
    assert fake_slurm.shards == [[1, 2, 3]], "silence is not the end of the tasks"


@pytest.mark.slow
def test_files_that_a_shared_folder_shows_late_are_waited_for(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    """The second task is done while the queue is empty already, as if its files were late."""
    monkeypatch.setattr(driver, "_LATE_SECONDS", 60.0)
    fake_slurm.kill = {2}
    looks = iter(range(100))

    def show() -> None:
        if fake_slurm.submitted and not fake_slurm._queue and next(looks) == 3:
            folder = str(Path("results/tiny-shards").absolute())
            slurm_task.do_shard(folder, 2, ())

    fake_slurm.do = show
    assert measured()[0] == 0
    assert fake_slurm.shards == [[1, 2, 3]]
    assert statuses() == {"ok": 12}


@pytest.mark.slow
def test_tasks_that_do_not_end_are_told(
    measured: Any, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
):
    def stop() -> None:
        if fake_slurm.submitted:
            fake_slurm.silent = True
            os.kill(os.getpid(), signal.SIGINT)
            fake_slurm.do = lambda: None

    monkeypatch.setattr(driver, "_LEAST_POLL", 0.05)
    fake_slurm.do = stop
    code, err = measured()
    assert code == 130
    assert f"scancel --name={fake_slurm.submitted[0]['name']} cancels them" in err


@pytest.mark.parametrize(
    ("more", "told"),
    [((), True), (("--slurm", "exclusive"), False), (("--shards", "1"), False)],
)
def test_tasks_that_may_share_a_node_are_told_so(
    measured: Any, fake_slurm: FakeSlurm, more: Any, told: bool
):
    fake_slurm.kill = {1, 2, 3}
    assert ("--slurm exclusive gives each a node of its own" in measured(*more)[1]) is told


def test_a_slurm_that_does_not_answer_at_the_start_is_told(measured: Any, fake_slurm: FakeSlurm):
    fake_slurm.silent = True
    code, err = measured()
    assert code == 2
    assert "squeue does not answer: Unable to contact slurm controller" in err
    assert fake_slurm.shards == []


@pytest.mark.slow
def test_a_driver_that_was_killed_is_continued(measured: Any, fake_slurm: FakeSlurm):
    class Killed(BaseException):
        pass

    def kill() -> None:
        if fake_slurm.submitted and len(fake_slurm._queue) == 2:
            raise Killed

    fake_slurm.do = kill
    cancel, fake_slurm.cancel = fake_slurm.cancel, lambda *_, **__: None  # type: ignore[method-assign]
    from mssbench.engines.slurm import jobs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "cancel", fake_slurm.cancel)
        patch.setattr(driver.Campaign, "cancel", lambda _: None)
        with pytest.raises(Killed):
            measured()
    fake_slurm.cancel = cancel  # type: ignore[method-assign]
    fake_slurm.do = lambda: None
    code, err = measured()
    assert code == 0
    assert "2 tasks of an earlier start are in the queue" in err or "1 task of an" in err
    assert fake_slurm.shards == [[1, 2, 3]]
    assert statuses() == {"ok": 12}


@pytest.mark.slow
def test_a_run_of_its_own_is_not_replaced(measured: Any, fake_slurm: FakeSlurm, capsys: Any):
    assert called(capsys, "run", "tiny.toml", "--python", "./stand_in")[0] == 0
    before = Path("results/tiny/table.csv").read_bytes()
    code, err = measured()
    assert code == 2
    assert "which none of the shards in" in err
    assert fake_slurm.shards == []
    assert Path("results/tiny/table.csv").read_bytes() == before
    assert measured("--fresh")[0] == 0
    assert Path("results/tiny/table.csv").read_bytes() != before


@pytest.mark.slow
def test_what_another_command_has_measured_meanwhile_is_not_replaced(
    measured: Any, fake_slurm: FakeSlurm, capsys: Any
):
    def run_here() -> None:
        if fake_slurm.submitted and not Path("results/tiny/table.csv").exists():
            assert called(capsys, "run", "tiny.toml", "--python", "./stand_in")[0] == 0

    fake_slurm.do = run_here
    code, err = measured()
    assert code == 2
    assert "which none of the shards in" in err
    assert "-shards/*-of-3 --out FOLDER` joins what the shards have" in err
    assert len({row["run_id"] for row in table(Path("results/tiny"))}) == 1


@pytest.mark.slow
def test_a_fresh_start_that_was_killed_is_continued(
    done: Any, measured: Any, fake_slurm: FakeSlurm
):
    before = {row["run_id"] for row in table(Path("results/tiny"))}

    class Killed(BaseException):
        pass

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver.Campaign, "join", kill)
        with pytest.raises(Killed):
            measured("--fresh")
    assert {row["run_id"] for row in table(Path("results/tiny"))} == before
    assert measured()[0] == 0
    assert fake_slurm.shards == [[1, 2, 3]], "what it had measured is not measured again"
    assert not before & {row["run_id"] for row in table(Path("results/tiny"))}
    assert not json.loads(Path("results/tiny-shards/slurm.json").read_text())["fresh"]


def test_a_fresh_start_keeps_the_lock_of_its_folder(done: Any, measured: Any, fake_slurm: Any):
    seen: list[bool] = []

    def look() -> None:
        fd = os.open("results/tiny-shards", os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            seen.append(True)
        else:
            seen.append(False)
        finally:
            os.close(fd)

    fake_slurm.do = look
    assert measured("--fresh")[0] == 0
    assert set(seen) == {True}


def test_a_fresh_start_deletes_nothing_while_earlier_tasks_may_run(
    done: Any, measured: Any, fake_slurm: FakeSlurm
):
    fake_slurm.silent = True
    code, err = measured("--fresh")
    assert code == 2
    assert "Nothing was deleted" in err
    assert len([*Path("results/tiny-shards").glob("*-of-3/table.csv")]) == 3


def test_the_run_may_be_a_symbolic_link(done: Any, measured: Any):
    Path("results/tiny").rename("real")
    Path("results/tiny-shards").rename("real-shards")
    Path("results/tiny").symlink_to("../real")
    for _ in range(2):
        assert measured()[0] == 0
        assert Path("results/tiny").is_symlink()
        assert statuses("real") == {"ok": 12}
    assert not exchange.before(Path("results/tiny")).is_symlink()
    assert not exchange.before(Path("real")).exists()


def test_the_run_of_a_model_has_its_name(place: Path):
    cluster = Cluster({}, ("h200",))
    folders = [folder for out in (".", "results/x") for _, folder, _ in cluster.kinds(Path(out))]
    assert folders == [place.with_name(f"{place.name}-h200"), Path("results/x-h200")]


@pytest.mark.parametrize("out", [".", "..", "../{name}/"])
def test_the_working_folder_cannot_be_the_run(
    measured: Any, fake_slurm: FakeSlurm, place: Path, out: str
):
    code, err = measured("--out", out.format(name=place.name))
    assert code == 2
    assert "Choose a folder in the working folder" in err
    assert fake_slurm.shards == []


@pytest.mark.slow
def test_files_of_the_users_stay(done: Any, measured: Any):
    Path("results/tiny/note.txt").write_text("mine")
    before = {row["run_id"] for row in table(Path("results/tiny"))}
    assert measured("--fresh")[0] == 0
    assert not before & {row["run_id"] for row in table(Path("results/tiny"))}
    assert Path("results/tiny/note.txt").read_text() == "mine"
    assert statuses() == {"ok": 12}


@pytest.mark.parametrize("both", [True, False])
def test_a_killed_exchange_is_finished(done: Any, measured: Any, both: bool):
    earlier = exchange.before(Path("results/tiny"))
    Path("results/tiny").rename(earlier)
    if both:
        shutil.copytree(earlier, "results/tiny")
    assert measured()[0] == 0
    assert statuses() == {"ok": 12}
    assert not exchange.before(Path("results/tiny")).exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--shards", 4), "the shards of a run with another number of shards"),
        (("--only", "seed < 3"), "another suite, or other options"),
        (("--set", "size=8"), "another suite, or other options"),
    ],
)
def test_shards_of_another_run_are_refused(
    done: Any, measured: Any, fake_slurm: FakeSlurm, more: Any, said: str
):
    code, err = measured(*more, "--out", "results/tiny")
    assert code == 2
    assert said in err
    assert fake_slurm.shards == []


def test_a_run_that_is_continued_keeps_its_number_of_shards(
    done: Any, measured: Any, fake_slurm: FakeSlurm
):
    assert measured("--shards", "")[0] == 0
    assert json.loads(Path("results/tiny-shards/slurm.json").read_text())["shards"] == 3


def test_a_driver_in_the_same_folder_is_refused(measured: Any, fake_slurm: FakeSlurm):
    folder = Path("results/tiny-shards")
    folder.mkdir(parents=True)
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    code, err = measured()
    os.close(held)
    assert code == 2
    assert "waits for its tasks on the cluster" in err
    assert fake_slurm.shards == []


def test_other_files_in_the_place_of_the_shards_are_refused(measured: Any):
    folder = Path("results/tiny-shards")
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("mine")
    code, err = measured("--fresh")
    assert code == 2
    assert "contains other files" in err
    assert (folder / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}'])
def test_a_damaged_description_is_refused(done: Any, measured: Any, text: str):
    Path("results/tiny-shards/slurm.json").write_text(text)
    code, err = measured()
    assert code == 2
    assert "slurm.json" in err
    assert measured("--fresh")[0] == 2, "the name of the tasks that may run is lost"


@pytest.mark.slow
def test_a_task_waits_for_an_earlier_one_of_its_shard(measured: Any, fake_slurm: FakeSlurm):
    """A node that Slurm has lost may still measure; its rows must not be written twice."""
    folder = Path("results/tiny-shards/2-of-3")
    folder.mkdir(parents=True)
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    threading.Timer(1.0, os.close, [held]).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slurm_task, "_PAUSE_SECONDS", 0.1)
        patch.setattr(ShardsFolder, "refuse_foreign", lambda _: None)
        assert measured()[0] == 0
    assert statuses() == {"ok": 12}


@pytest.mark.slow
def test_a_task_does_not_wait_for_ever(measured: Any, fake_slurm: FakeSlurm):
    folder = Path("results/tiny-shards/2-of-3")
    folder.mkdir(parents=True)
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slurm_task, "_PAUSE_SECONDS", 0.1)
        patch.setattr(slurm_task, "_PATIENCE_SECONDS", 0.2)
        patch.setattr(ShardsFolder, "refuse_foreign", lambda _: None)
        code, err = measured()
    os.close(held)
    assert code == 4
    assert "is being written by another run" in err
    assert statuses() == {"ok": 8, "interrupted": 4}


@pytest.mark.exhaustive
def test_each_model_of_gpu_is_a_run(measured: Any, fake_slurm: FakeSlurm):
    code, err = measured("--gpus", "h200,a100", "--device", "cpu")
    assert code == 0
    assert [each["options"]["gres"] for each in fake_slurm.submitted] == [
        "gpu:h200:1",
        "gpu:a100:1",
    ]
    assert "tiny-h200: 12 of 12 cells" in err
    for model in ("h200", "a100"):
        assert statuses(f"results/tiny-{model}") == {"ok": 12}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--gpus", "a,a"), "names a model twice"),
        (("--gpus", "a", "--slurm", "gres=gpu:1"), "both ask for GPUs"),
        (("--shard", "1/2"), "leave out --shard"),
        (("--shards", "13"), "only 12 cells, so that"),
        (("--slurm", "array=1-3"), "array cannot be chosen, because"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    measured: Any, fake_slurm: FakeSlurm, more: Any, said: str
):
    code, err = measured(*more)
    assert code == 2
    assert said in err
    assert fake_slurm.shards == []
    assert not Path("results").exists()


@pytest.mark.parametrize("option", [("--slurm", "partition=x"), ("--gpus", "a"), ("--shards", "2")])
def test_options_of_the_cluster_need_its_engine(capsys: Any, option: Any):
    code, _, err = called(capsys, "run", "tiny.toml", *option)
    assert code == 2
    assert f"{option[0]} is for a cluster: say --engine slurm" in " ".join(err.split())


@pytest.mark.slow
def test_the_results_are_told_as_json(fake_slurm: FakeSlurm, capsys: Any):
    words = ("tiny.toml", "--engine", "slurm", "--python", "./stand_in", "--shards", 2, "--json")
    code, said, _ = called(capsys, "run", *words)
    assert code == 0
    found = json.loads(said)
    assert found["complete"] is True
    assert len(found["rows"]) == 12


def test_the_end_of_a_task_that_is_damaged_is_no_end(tmp_path: Path):
    folder = ShardsFolder(tmp_path / "shards")
    folder.ask({"name": "n"}, "")
    folder.write_end(1, shards_folder.End("why", over=True, node="n1"))
    assert folder.end(1) == ("why", True, "n1")
    (tmp_path / "shards" / "ends" / "1.json").write_text("[1")
    assert folder.end(1) is None
    folder.forget_ends(1)
    assert folder.end(1) is None


def test_the_last_words_of_a_task_are_its_own(tmp_path: Path):
    folder = ShardsFolder(tmp_path / "x")
    folder.tasks.mkdir(parents=True)
    log = folder.tasks / "1_0_log.out"
    log.write_text("submitit INFO (now) - Starting\nno space left\nsubmitit INFO (now) - Exiting\n")
    assert folder.last_words() == f"{log} ends with: no space left"
