"""A command of mssbench on one node of a cluster, whose output and exit code are those here."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_slurm import FakeSlurm
from helpers.tables import called

from mssbench.engines.slurm.jobs import Task
from mssbench.errors import RunError
from mssbench.run.slurm import command


class OneJob(FakeSlurm):
    """A Slurm that executes a command as a job. dies: whether its node is lost instead."""

    dies = False
    interrupt = False

    def submit(self, function: Callable[..., Any], arguments: Any, folder: Path, **_: Any) -> None:
        self.job: Any = (function, arguments[0], folder)

    def tasks(self, _name: str) -> list[Task] | None:
        if self.job is None:
            return []
        if self.interrupt:
            self.interrupt = False
            os.kill(os.getpid(), signal.SIGINT)
            return [Task("7", "RUNNING", 0, "None", "n1")]
        function, arguments, folder = self.job
        self.job = None
        if self.dies:
            (folder / "7_log.out").write_text("slurmstepd: error: time limit\n")
        else:
            function(*arguments)
        return [Task("7", "COMPLETING", 0, "None", "n1")]

    def cancel(self, *ids: str, name: str = "") -> None:
        super().cancel(*ids, name=name)
        self.job = None


@pytest.fixture
def one_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, heeded: None) -> OneJob:
    monkeypatch.setattr(command, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(command, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(command, "_LATE_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)
    fake = OneJob()
    fake.take_the_place(monkeypatch)
    return fake


def there(*words: str, said: list[str] | None = None) -> int:
    say = (said if said is not None else []).append
    return command.run_there(words, {}, minutes=5, beside=Path.cwd(), say=say)


def test_the_output_and_the_exit_code_are_passed_on(one_job: OneJob, capfdbinary: Any) -> None:
    said: list[str] = []
    assert there("list", "sutes", said=said) == 2
    out, err = capfdbinary.readouterr()
    assert b"Did you mean 'suites'" in out + err
    assert there("list", "suites") == 0
    assert b"quick" in capfdbinary.readouterr().out
    assert "on n1" in said
    assert list(Path.cwd().iterdir()) == [], "no file of the job is left"


def test_a_file_in_the_working_folder_replaces_no_module(one_job: OneJob) -> None:
    Path("random.py").write_text("raise SystemExit(9)")
    assert there("list", "suites") == 0


def test_a_job_that_ends_without_an_exit_code_is_told(one_job: OneJob) -> None:
    one_job.dies = True
    with pytest.raises(RunError, match=r"slurmstepd: error: time limit.*--slurm time=MINUTES"):
        there("list", "suites")
    assert list(Path.cwd().iterdir()) == []


def test_ctrl_c_cancels_the_job(one_job: OneJob) -> None:
    one_job.interrupt = True
    assert there("list", "suites") == 130
    assert one_job.cancelled
    assert one_job.cancelled[0].startswith("mssbench-")


def test_ab_passes_its_words_without_those_of_the_cluster(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}

    def run_there(words: list[str], options: Any, **_: Any) -> int:
        found.update(words=words, options=options)
        return 3

    monkeypatch.setattr(command, "run_there", run_there)
    code, _, _ = called(
        capsys,
        *("ab", "smoke", "--base", "main", "--engine", "slurm", "--new=HEAD"),
        *("--slurm", "exclusive", "--slurm=partition=x", "--json"),
    )
    assert code == 3
    assert found["words"] == ["ab", "smoke", "--base", "main", "--new=HEAD", "--json"]
    assert found["options"] == {"exclusive": True, "partition": "x"}


def test_ab_refuses_options_of_a_cluster_without_its_engine(capsys: Any) -> None:
    code, _, err = called(
        capsys, *["ab", "smoke", "--base", "main", "--new", "HEAD", "--slurm", "partition=x"]
    )
    assert code == 2
    assert "--slurm is for a cluster" in err
