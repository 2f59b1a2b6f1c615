"""The options of --slurm, and what is asked of Slurm's own programs, by stand-ins for them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mssbench.engines.slurm import jobs, options
from mssbench.engines.slurm.jobs import Task
from mssbench.errors import RunError

HELP = """\
Usage: sbatch [OPTIONS(0)...]
  -A, --account=name          charge job to specified account
      --gres=list             required generic resources
      --exclusive[=user]      allocate nodes in exclusive mode
  -p, --partition=partition   partition requested
  -t, --time=minutes          time limit
      --cpus-per-task=ncpus
      --gpus-per-node=n
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in front of the PATH, for stand-ins for Slurm's programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    options._known.cache_clear()
    write(folder, "sbatch", f"cat <<'END'\n{HELP}\nEND")
    yield folder
    options._known.cache_clear()


def write(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["partition=gpu"], {"partition": "gpu"}),
        (["--partition=gpu", "exclusive"], {"partition": "gpu", "exclusive": True}),
        (["p=gpu", "-t=60"], {"partition": "gpu", "time": "60"}),
        (["cpus_per_task=8"], {"cpus-per-task": "8"}),
        (["gres=gpu:h200:1,shard:2"], {"gres": "gpu:h200:1,shard:2"}),
        (["partition=a", "partition=b"], {"partition": "b"}),
        ([], {}),
    ],
)
def test_options_are_those_of_sbatch(programs: Path, texts: list[str], found: object) -> None:
    assert options.parse(texts) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitoin=gpu", "Did you mean 'partition'"),
        ("=gpu", "write KEY=VALUE"),
        ("partition=", "write KEY=VALUE"),
        ("partition=a\nb", "write KEY=VALUE"),
        ("", "write KEY=VALUE"),
        ("array=1-3", "array cannot be chosen"),
        ("-N=2", "Unknown option of sbatch"),
        ("nodes=2", "nodes cannot be chosen"),
        ("-M=other", "clusters cannot be chosen"),
        ("parsable", "parsable cannot be chosen"),
        ("test-only", "test-only cannot be chosen"),
        ("requeue", "requeue cannot be chosen"),
        ("job_name=mine", "job-name cannot be chosen"),
    ],
)
def test_wrong_options_are_refused(programs: Path, text: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        options.parse([text])


def test_options_are_not_checked_where_sbatch_does_not_tell_them(programs: Path) -> None:
    write(programs, "sbatch", "exit 1")
    assert options.parse(["unheard=of"]) == {"unheard": "of"}


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        (["gres=gpu"], True),
        (["gres=gpu:a100:2"], True),
        (["gres=shard:1,gpu:1"], True),
        (["gres=mig:1"], True),
        (["gpus-per-node=1"], True),
        (["gres=license:1"], False),
        (["partition=gpu"], False),
    ],
)
def test_auto_means_cuda_where_a_gpu_is_asked_for(texts: list[str], asked: bool) -> None:
    chosen = dict(text.split("=", 1) for text in texts)
    assert options.asks_for_gpus(chosen) is asked


def test_the_queue_is_read(programs: Path) -> None:
    columns = [("17_1", "RUNNING", "0", "None", "n[1-2]"), ("17_2", "PENDING", "2", "", "")]
    widths = [40, 20, 10, 60, 60]
    lines = [
        "".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in columns
    ]
    body = "\n".join(lines)
    write(programs, "squeue", f"echo \"$@\" >'{programs}/asked'\ncat <<'END'\n{body}\nEND")
    assert jobs.tasks("mine") == [
        Task("17_1", "RUNNING", 0, "None", "n[1-2]"),
        Task("17_2", "PENDING", 2, "", ""),
    ]
    asked = (programs / "asked").read_text()
    assert "--name=mine" in asked
    assert "--array" in asked
    assert [task.waits for task in jobs.tasks("mine") or []] == [False, True]


@pytest.mark.parametrize(
    ("script", "found"),
    [("exit 0", []), ("echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1", None)],
)
def test_an_empty_queue_is_not_a_silent_one(programs: Path, script: str, found: object) -> None:
    write(programs, "squeue", script)
    assert jobs.tasks("mine") == found
    assert ("Unable to contact" in jobs.why_silent("mine")) is (found is None)
    assert jobs.why_silent("mine")


def test_a_slurm_that_never_answers_is_silent(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PATIENCE", 0.2)
    write(programs, "squeue", "exec sleep 30")
    assert jobs.tasks("mine") is None
    assert jobs.why_silent("mine") == "no answer within 0.2 s"


def test_a_slurm_that_never_answers_cancels_nothing(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PATIENCE", 0.2)
    write(programs, "scancel", "exec sleep 30")
    jobs.cancel(name="mine")


def test_what_is_cancelled(programs: Path) -> None:
    write(programs, "scancel", f"echo \"$@\" >>'{programs}/asked'")
    jobs.cancel("17_1", "17_2")
    jobs.cancel(name="mine")
    jobs.cancel()
    assert (programs / "asked").read_text().splitlines() == ["17_1 17_2", "--name=mine"]


@pytest.mark.parametrize("count", [1, 3])
def test_an_array_is_submitted(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    pytest.importorskip("submitit")
    write(programs, "srun", "exit 0")
    write(
        programs,
        "sbatch",
        f"cat \"$1\" >'{programs}/script'\nenv >'{programs}/env'\necho Submitted batch job 17",
    )
    monkeypatch.setenv("SLURM_JOB_ID", "4")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    jobs.submit(
        print,
        [(i, "a") for i in range(count)],
        tmp_path / "tasks",
        name="mine",
        minutes=30,
        options={"partition": "gpu", "cpus-per-task": "8", "exclusive": True},
    )
    script = (programs / "script").read_text().splitlines()
    directives = {line.removeprefix("#SBATCH --") for line in script if line.startswith("#SBATCH")}
    assert {
        "job-name=mine",
        "partition=gpu",
        "cpus-per-task=8",
        "exclusive",
        "no-requeue",
        "time=30",
    } <= directives
    assert (f"array=0-{count - 1}%{count}" in directives) is (count > 1)
    assert not [line for line in directives if line.startswith("wckey")]
    (command,) = [line for line in script if line.startswith("srun")]
    assert "--cpus-per-task=8" in command
    assert f"{sys.executable} -P " in command
    environment = dict(
        line.split("=", 1) for line in (programs / "env").read_text().splitlines() if "=" in line
    )
    assert "SLURM_JOB_ID" not in environment, "the new job is no part of the surrounding one"
    assert environment["SLURM_CONF"] == "/etc/slurm.conf"
    assert os.environ["SLURM_JOB_ID"] == "4"


def test_the_options_of_the_user_replace_ours(programs: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    write(programs, "srun", "exit 0")
    write(programs, "sbatch", f"cat \"$1\" >'{programs}/script'\necho Submitted batch job 17")
    jobs.submit(
        print, [(1,)], tmp_path / "tasks", name="mine", minutes=30, options={"time": "01:00:00"}
    )
    script = (programs / "script").read_text()
    assert "--time=01:00:00" in script
    assert "--time=30" not in script


def test_a_refusal_is_told_in_the_words_of_sbatch(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    write(programs, "srun", "exit 0")
    said = "sbatch: error: Batch job submission failed: Invalid account"
    write(programs, "sbatch", f"echo '{said}' >&2; exit 1")
    given = {"account": "nobody", "exclusive": True}
    with pytest.raises(RunError, match="Batch job submission failed: Invalid account") as error:
        jobs.submit(print, [(1,)], tmp_path / "tasks", name="mine", minutes=30, options=given)
    assert "(account=nobody, exclusive): " in str(error.value)
    assert "Traceback" not in str(error.value)
    assert capsys.readouterr().err == "", "it is told once"
    assert "\n" not in str(error.value)


def test_a_refused_array_may_be_too_long(programs: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    write(programs, "srun", "exit 0")
    write(programs, "sbatch", "echo 'sbatch: error: Invalid job array specification' >&2; exit 1")
    with pytest.raises(RunError, match=r"2 tasks may be too many .* choose fewer --shards"):
        jobs.submit(print, [(1,), (2,)], tmp_path / "tasks", name="mine", minutes=3, options={})


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="the command sbatch of Slurm is not on the PATH"):
        jobs.refuse_missing()


def test_a_missing_submitit_is_named(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("squeue", "scancel", "srun"):
        write(programs, name, "exit 0")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RunError, match=r"pip install 'mssbench\[slurm\]'"):
        jobs.refuse_missing()
