"""The flow of .ci/gpu, with commands that only write down how they were called."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.root import ROOT
from helpers.runs import heed_signals

CI = ROOT / ".ci"
STUB = r"""#!/bin/bash
name=$(basename "$0")
echo "$name $*" >>"$CALLS"
if [[ -n "${FAIL:-}" && "$name $*" =~ $FAIL ]]; then echo "${SAYS:-}"; exit "${CODE:-1}"; fi
if [[ -n "${HANGS:-}" && "$name $*" =~ $HANGS ]]; then echo begun; exec sleep 60; fi
case "$name $*" in
    *bundle.py*) exec "$REAL_PYTHON" "$@" ;;
    *"--has ${LACKS:-nothing}") exit 1 ;;
    *gpu_here.py) echo "a GPU ${MACHINE:-}" ;;
    *"examine launch"*) echo ready ;;
    *race.py*) echo x >"$4" ;;
    python3*" run "*)
        mkdir -p "$8" && echo "commit ${MSSBENCH_COMMIT:-}" >"$8/table.csv"; echo "${SAYS:-}" ;;
    *claims*--json) printf '"verdict": "holds"\n"verdict": "not measured"\n"verdict": "holds"\n' ;;
esac
if [[ "$name" = ncu && "$*" =~ --export\ ([^ ]+) ]]; then
    head -c "${PROFILE:-10}" /dev/urandom >"${BASH_REMATCH[1]}.ncu-rep"
fi
"""
KERNEL_TESTS = "tests/gpu/test_kernels.py"
# name of a step, its limit in seconds, and what it calls: those of the first call, of a second
# one, and of whoever has more time
FIRST = [
    ("kernels", 60, "examine table"),
    (f"{KERNEL_TESTS}, quick", 40, f"pytest .* -k not .* {KERNEL_TESTS}"),
    ("gpu_first", 140, "run gpu_first"),
    ("race f32", 70, "race.py f32 --csv"),
    (f"{KERNEL_TESTS}, bits", 80, f"pytest .* -k bits.* {KERNEL_TESTS}"),
    ("gpu_small", 90, "run gpu_small"),
    ("racecheck", 25, "compute-sanitizer --tool racecheck"),
    ("memcheck", 25, "compute-sanitizer --tool memcheck"),
    ("ncu, n = 64", 25, "ncu .* --size 64"),
]
SECOND = [
    ("gpu_large", 105, "run gpu_large"),
    ("tests/gpu/test_gpu.py", 60, "pytest .* tests/gpu/test_gpu.py"),
    ("doctor", 20, "mssbench doctor"),
]
REST = [
    ("race f64", 60, "race.py f64 --csv"),
    ("synccheck", 30, "compute-sanitizer --tool synccheck"),
    ("initcheck", 30, "compute-sanitizer --tool initcheck"),
    ("ncu, n = 32", 30, "ncu .* --size 32"),
    ("gpu_paper", 120, "run gpu_paper"),
    ("quick", 120, "run quick"),
    ("selftest", 300, "mssbench selftest"),
    ("smoke", 200, "run smoke"),
    ("precision", 300, "run precision"),
    ("standard", 600, "run standard"),
]
STEPS = [*FIRST, *SECOND, *REST]
TOOLS = ["racecheck", "memcheck", "synccheck", "initcheck"]


class Script:
    """.ci/gpu in a folder, and what it called."""

    def __init__(self, path: Path) -> None:
        self.folder, self.archive, self.ci = path / "out", path / "out.tgz", CI
        self._bin, self._log, self._path = path / "bin", path / "calls", path
        self._bin.mkdir()
        for name in ("python3", "compute-sanitizer", "ncu"):
            (self._bin / name).write_text(STUB)
            (self._bin / name).chmod(0o755)

    def start(self, *arguments: Any, **environment: str) -> Any:
        """Of which nobody has waited for the end."""
        self._log.write_text("")
        settings = {k: v for k, v in os.environ.items() if k not in ("OUT", "MSSBENCH_COMMIT")}
        settings |= {
            "CALLS": str(self._log),
            "REAL_PYTHON": sys.executable,
            "CUPY_CACHE_DIR": str(self._path / "cache"),
            **environment,
        }
        settings["PATH"] = f"{self._bin}:{settings['PATH']}"
        return subprocess.Popen(
            ["bash", self.ci / "gpu", *(arguments or (self.folder, "--minutes", "60"))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=settings,
            preexec_fn=heed_signals,
        )

    def __call__(self, *arguments: Any, **environment: str) -> Any:
        process = self.start(*arguments, **environment)
        try:
            stdout, stderr = process.communicate(timeout=120)
        finally:
            process.kill()
        return SimpleNamespace(returncode=process.returncode, stdout=stdout, stderr=stderr)

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines()

    def called(self, pattern: str) -> bool:
        return any(re.search(pattern, call) for call in self.calls)

    def order(self, steps: list[tuple[str, int, str]]) -> list[int]:
        """Where each of them first called what it calls."""
        return [
            next(i for i, call in enumerate(self.calls) if re.search(what, call))
            for _, _, what in steps
        ]

    def summary(self, folder: Path | None = None) -> dict[str, str]:
        """How each step ended, with what is said of it."""
        return summary(((folder or self.folder) / "summary.txt").read_text())

    def packed(self) -> set[str]:
        """The paths in the archive."""
        with tarfile.open(self.archive) as archive:
            return set(archive.getnames())


def summary(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        how, name, more = re.fullmatch(r"(.{14}) +\d+ s  ([^:]+)(.*)", line).groups()  # type: ignore[union-attr]
        found[name] = how.strip() + more
    return found


def limits(stdout: str) -> list[tuple[str, int]]:
    found = re.findall(r"^== (.+) \(at most (\d+) s\)$", stdout, re.M)
    return [(name, int(limit)) for name, limit in found]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_every_step_in_its_order_within_its_limit(script: Script) -> None:
    done = script()
    assert (done.returncode, done.stderr) == (0, "")
    assert limits(done.stdout) == [(name, limit) for name, limit, _ in STEPS]
    order = script.order(STEPS)
    assert order == sorted(order)
    assert {how.partition(":")[0] for how in script.summary().values()} == {"passed"}


def test_the_headline_stands_after_four_minutes_and_a_call_ends_within_ten() -> None:
    names = [name for name, _, _ in FIRST]
    assert sum(limit for _, limit, _ in FIRST[: 1 + names.index("gpu_first")]) <= 240
    assert sum(limit for _, limit, _ in FIRST) <= 60 * 9.5
    assert sum(limit for _, limit, _ in SECOND) <= 200


@pytest.mark.exhaustive
def test_tests_run_in_eight_processes_the_quick_ones_first(script: Script) -> None:
    script()
    quick, bits, others = [call for call in script.calls if "-m pytest" in call]
    slow = "bits_of_the_emulation or tensor_cores_give"
    assert f"-n 8 -k not ({slow}) {KERNEL_TESTS}" in quick
    assert f"-n 8 -k {slow} {KERNEL_TESTS}" in bits
    assert others.endswith("-n 8 tests/gpu/test_gpu.py")
    source = (CI.parent / KERNEL_TESTS).read_text()
    for name in slow.split(" or "):
        assert f"{name}" in source, "a test of another name is a quick one"


@pytest.mark.sampled(slow=1)
@pytest.mark.parametrize(
    ("lacks", "said", "left_out"),
    [
        ("xdist", "passed: in one process, as there is no pytest-xdist", []),
        ("pytest", "not here: no pytest", ["-m pytest"]),
        ("cupy", "not here: no CuPy, which launches the kernels", ["examine", "race.py", "ncu "]),
    ],
)
@pytest.mark.slow
def test_what_the_machine_lacks_is_said_and_costs_only_what_needs_it(
    script: Script, lacks: str, said: str, left_out: list[str]
) -> None:
    assert script(LACKS=lacks).returncode == 0
    affected = "race f32" if lacks == "cupy" else "tests/gpu/test_gpu.py"
    assert script.summary()[affected] == said
    assert not [what for what in left_out if script.called(what)]
    assert not script.called("-n 8") or lacks == "cupy"
    assert script.summary()["gpu_first"].startswith("passed")


@pytest.mark.exhaustive
def test_a_suite_stops_before_its_limit_and_its_claims_follow(script: Script) -> None:
    done = script(script.folder, "--minutes", "9.5", SAYS="the time was over; go on.")
    run = next(call for call in script.calls if " run gpu_small " in call)
    assert "--only device == 'cuda'" in run
    assert 60 * float(run.split("--minutes ")[1]) == pytest.approx(90 - 15)
    large = next(call for call in script.calls if " run gpu_large " in call)
    assert 60 * float(large.split("--minutes ")[1]) == pytest.approx(90)
    assert script.called("claims .*/gpu_small$")
    assert not script.called("claims .*/quick")  # it makes none
    assert "holds" in (script.folder / "claims-gpu_small.json").read_text()
    assert script.summary()["gpu_small"] == "passed: in part; claims: 2 holds, 1 not measured"
    assert "2 holds, 1 not measured" in done.stdout.partition("== summary")[2]


@pytest.mark.exhaustive
def test_what_passed_is_not_repeated_and_a_table_in_part_goes_on(script: Script) -> None:
    script(SAYS="the time was over")
    assert script().returncode == 0
    for what in (
        "-m pytest",
        "-m mssbench.methods.kernels.examine",
        "compute-sanitizer",
        "ncu",
        "race",
    ):
        assert not script.called(what), what
    for what in ("run gpu_small", "run gpu_large", "run standard"):
        assert script.called(what), what
    found = script.summary()
    assert found["tests/gpu/test_gpu.py"] == found["racecheck"] == "passed: before"
    assert script().returncode == 0
    assert not script.called(" run ")  # it was complete


@pytest.mark.exhaustive
def test_time_that_is_left_goes_to_the_tables_that_were_not_done(script: Script) -> None:
    done = script(SAYS="the time was over")
    again = limits(done.stdout)[len(STEPS) :]
    assert [name for name, _ in again] == [
        name for name, _, what in STEPS if " run" in f" {what}" and "run" in what.split()
    ]
    assert again[0][1] > 3000  # all that is left of an hour


@pytest.mark.exhaustive
@pytest.mark.exhaustive
def test_what_no_call_has_begun_comes_first(script: Script) -> None:
    """A second call goes on with the second half, and only then with tables of the first."""
    script(SAYS="the time was over", FAIL="run gpu_large|test_gpu.py|doctor", CODE="124")
    for name, _, _ in SECOND:
        for marker in script.folder.glob(f"begun-{name.replace('/', '_')}-*"):
            marker.unlink()
    done = script(script.folder, "--minutes", "3.3", SAYS="the time was over")
    begun = [name for name, _ in limits(done.stdout)]
    assert begun[:3] == [name for name, _, _ in SECOND]
    assert begun[3:5] == ["gpu_first", "gpu_small"]


# One step of each function of the script.
OF_EACH_KIND = ("kernels", "gpu_small", "race f32", "memcheck", "tests/gpu/test_gpu.py", "doctor")


@pytest.mark.sampled(slow=2)
@pytest.mark.parametrize(
    ("fails", "name"), [(what, name) for name, _, what in STEPS if name in OF_EACH_KIND]
)
@pytest.mark.slow
def test_a_step_that_fails_is_a_failure_and_costs_no_other_step(
    script: Script, fails: str, name: str
) -> None:
    done = script(FAIL=fails, SAYS="ready", CODE="9")
    assert done.returncode == 1
    assert len(limits(done.stdout)) == len(STEPS), "it would fail again in the same call"
    assert all(script.called(what) for _, _, what in STEPS)
    found = script.summary()
    assert found.pop(name).startswith("FAILED: exit status 9")
    assert {how.partition(":")[0] for how in found.values()} == {"passed"}
    assert script().returncode == 0
    assert script.called(fails), "it is tried again"


@pytest.mark.sampled(slow=1)
@pytest.mark.parametrize("tool", ["compute-sanitizer", "ncu"])
@pytest.mark.slow
def test_a_tool_that_the_machine_refuses_is_no_failure_and_said(script: Script, tool: str) -> None:
    done = script(FAIL=f"^{tool} ", SAYS="Device not supported")
    assert done.returncode == 0
    names = TOOLS if tool != "ncu" else ["ncu, n = 32", "ncu, n = 64"]
    for name in names:
        assert script.summary()[name].startswith("not here: refused, see ")
    assert "Device not supported" in done.stdout


def test_without_time_nothing_is_begun_and_that_is_said(script: Script) -> None:
    done = script(script.folder, "--minutes", "0")
    assert done.returncode == 0
    assert [call for call in script.calls if "bundle.py" not in call] == ["python3 .ci/gpu_here.py"]
    assert set(script.summary().values()) == {"no time left"}
    assert list(script.summary()) == [name for name, _, _ in STEPS]
    assert len((script.folder / "summary.txt").read_text().splitlines()) == len(STEPS)


def test_without_a_gpu_nothing_is_begun_and_the_exit_status_says_misuse(script: Script) -> None:
    done = script(FAIL="gpu_here", CODE="2")
    assert done.returncode == 2
    assert len(script.calls) == 1
    assert not script.folder.exists()
    assert not script.archive.exists()


@pytest.mark.exhaustive
@pytest.mark.exhaustive
def test_another_machine_has_a_folder_of_its_own(script: Script) -> None:
    script()
    assert script(MACHINE="of another kind").returncode == 0
    assert script.called("-m pytest")
    run = next(call for call in script.calls if " run gpu_small " in call)
    folder = Path(run.split("--out ")[1].split()[0]).parent
    assert folder.parent == script.folder
    assert script.summary(folder)["tests/gpu/test_gpu.py"] == "passed"
    assert f"{folder.name}/gpu_small/table.csv" in script.packed()
    script()
    assert not script.called("-m pytest")


@pytest.mark.exhaustive
def test_on_a_machine_that_has_compiled_nothing_the_kernels_are_compiled_again(
    script: Script, tmp_path: Path
) -> None:
    script()
    assert script(CUPY_CACHE_DIR=str(tmp_path / "another")).returncode == 0
    assert script.called("examine table")
    assert not script.called("-m pytest")
    script()
    assert not script.called("examine table")


@pytest.mark.parametrize(
    "arguments",
    [
        [""],
        ["x", "--minute", "8"],
        ["x", "--minutes", "soon"],
        ["x", "--minutes"],
        ["--minutes", "8"],
        ["x", "--from"],
    ],
)
def test_a_call_it_does_not_understand_is_misuse(script: Script, arguments: list[str]) -> None:
    done = script(*arguments)
    assert (done.returncode, script.calls) == (2, [])
    assert done.stderr.startswith("usage: .ci/gpu FOLDER [--minutes 9.5] [--from ARCHIVE.tgz]")


@pytest.mark.exhaustive
def test_the_commit_goes_to_every_worker(script: Script) -> None:
    git = ["git", "-C", str(CI.parent), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True)
    script(script.folder, "--minutes", "9")
    table = script.folder / "gpu_first" / "table.csv"
    assert table.read_text() == f"commit {head.stdout.strip()}\n"


@pytest.mark.sampled(slow=1)
@pytest.mark.parametrize(
    ("file", "variable", "commit"),
    [("abc", None, "abc"), ("abc", "def", "def"), (None, "def", "def"), (None, None, "")],
)
@pytest.mark.slow
def test_where_no_repository_came_along_the_commit_is_the_one_it_is_told(
    script: Script, tmp_path: Path, file: str | None, variable: str | None, commit: str
) -> None:
    outer, copy = tmp_path / "outer", tmp_path / "outer" / "copy"
    shutil.copytree(CI, copy / ".ci")
    for name in ("mssbench", "tests", "suites"):
        (copy / name).mkdir()
    subprocess.run(["git", "init", "-q", str(outer)], check=True)
    git = ["git", "-C", str(outer), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another project"], check=True)
    if file:
        (copy / ".ci" / "commit").write_text(f"{file}\n")
    script.ci = copy / ".ci"
    told = {"MSSBENCH_COMMIT": variable} if variable else {}
    script(script.folder, "--minutes", "2.5", **told)
    table = script.folder / "gpu_first" / "table.csv"
    assert table.read_text() == f"commit {commit}\n"


# The archive


@pytest.mark.slow
def test_all_results_are_in_one_archive(script: Script) -> None:
    done = script()
    packed = script.packed()
    assert {"summary.txt", "here.txt", "machine", "kernels.json", "gpu_kernels_bits.log"} <= packed
    assert {"gpu_first/table.csv", "claims-gpu_small.txt", "race-f32.csv"} <= packed
    assert "ncu-n64.ncu-rep" in packed
    assert not packed & {"left_out.txt", "running", "start", "more"}
    with tarfile.open(script.archive) as archive:
        member = archive.extractfile("summary.txt")
        assert member is not None
        assert summary(member.read().decode()) == script.summary()
    assert "want of room" not in done.stdout


def test_where_only_one_folder_comes_back_the_archive_is_in_it(
    script: Script, tmp_path: Path
) -> None:
    (tmp_path / "back").mkdir()
    script(script.folder, "--minutes", "0", OUT=str(tmp_path / "back"))
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["out.tgz"]
    script(script.folder, "--minutes", "0", "--archive", str(tmp_path / "there.tgz"))
    assert (tmp_path / "there.tgz").exists()
    assert not script.archive.exists()


@pytest.mark.exhaustive
@pytest.mark.exhaustive
def test_profiles_go_in_as_far_as_they_fit(script: Script) -> None:
    done = script(PROFILE=str(9 * 2**20))
    assert script.archive.stat().st_size <= 16 * 2**20
    profiles = {name for name in script.packed() if name.endswith(".ncu-rep")}
    assert len(profiles) == 1
    assert {"summary.txt", "standard/table.csv", "ncu-n32.csv", "ncu-n64.csv"} <= script.packed()
    assert done.stdout.count("not in out.tgz, for want of room: ncu-n") == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_script_that_is_stopped_leaves_its_archive_and_no_process(
    script: Script, sent: signal.Signals, code: int
) -> None:
    process = script.start(HANGS="race.py")
    try:
        wait_until(lambda: script.called("race.py"))
        begun = time.monotonic()
        process.send_signal(sent)
        process.communicate(timeout=30)
        assert time.monotonic() - begun < 15
    finally:
        process.kill()
    assert process.returncode == code
    assert {"gpu_first/table.csv", "race-f32.txt", "summary.txt"} <= script.packed()
    assert script.summary()["race f32"] == "cut short: the script was told to end"
    assert not script.called("run gpu_small")
    wait_until(lambda: not sleepers(script))


def test_a_script_that_is_killed_leaves_the_archive_of_the_step_before(script: Script) -> None:
    process = script.start(HANGS="race.py")
    try:
        wait_until(lambda: script.called("race.py"))
        process.kill()
        process.wait(timeout=30)
    finally:
        for pid in sleepers(script):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=30)
    assert {"gpu_first/table.csv", "summary.txt"} <= script.packed()


@pytest.mark.slow
def test_a_run_goes_on_from_its_archive_on_another_day(script: Script, tmp_path: Path) -> None:
    script(script.folder, "--minutes", "60", SAYS="the time was over")
    before = script.archive.rename(tmp_path / "carried.tgz")
    shutil.rmtree(script.folder)
    done = script(script.folder, "--minutes", "60", "--from", str(before))
    assert done.returncode == 0
    assert not script.called("-m pytest")
    assert script.called("run gpu_small")
    assert script.summary()["racecheck"] == "passed: before"
    assert "gpu_first/table.csv" in script.packed()


@pytest.mark.exhaustive
def test_results_that_are_there_are_not_overwritten_by_an_archive(
    script: Script, tmp_path: Path
) -> None:
    script(script.folder, "--minutes", "9")
    before = script.archive.rename(tmp_path / "carried.tgz")
    (script.folder / "gpu_first" / "table.csv").write_text("newer")
    done = script(script.folder, "--minutes", "0", "--from", str(before))
    assert "has results already, which stay" in done.stdout
    assert (script.folder / "gpu_first" / "table.csv").read_text() == "newer"


@pytest.mark.exhaustive
def test_what_is_no_whole_archive_becomes_no_folder_of_results(
    script: Script, tmp_path: Path
) -> None:
    script(script.folder, "--minutes", "9")
    whole = script.archive.read_bytes()
    half = tmp_path / "half.tgz"
    half.write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(script.folder)
    for path in (half, tmp_path / "nowhere.tgz"):
        assert script(script.folder, "--from", str(path)).returncode == 2
        assert not script.folder.exists()
        assert not [call for call in script.calls if "gpu_here" not in call]


def wait_until(holds: Any) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def sleepers(script: Script) -> list[int]:
    """The processes that a command of this script hangs in, by their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"CALLS={script._log}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return found


@pytest.fixture
def bundle() -> Any:
    return loaded("bundle")


def test_an_archive_never_exceeds_its_limit_and_says_what_is_missing(
    bundle: Any, tmp_path: Path
) -> None:
    folder, archive = tmp_path / "run", tmp_path / "run.tgz"
    folder.mkdir()
    for i in range(1000):  # so small that one more nearly always fits
        (folder / f"{i:03}-a-rather-long-name-of-a-profile.ncu-rep").write_bytes(os.urandom(100))
    (folder / "huge.ncu-rep").write_bytes(bytes(2**20))
    (folder / "table.csv").write_text("a,b\n")
    (folder / "link").symlink_to("/etc/passwd")
    for limit in (20_000, 50_000):
        left_out = bundle.pack(folder, archive, limit)
        assert limit - 4096 < archive.stat().st_size <= limit
        with tarfile.open(archive) as opened:
            names = opened.getnames()
            text = opened.extractfile("left_out.txt").read().decode()  # type: ignore[union-attr]
        assert names[0] == "table.csv"
        assert len(names) - 1 + len(left_out) == 1002
        assert "link" not in names
        assert f"... and {len(left_out) - len(text.splitlines()) + 1} more" in text
    assert "huge.ncu-rep" in left_out  # its zeros would fit, but nobody tries


@pytest.mark.parametrize("profile", ["ncu-n64.ncu-rep", "ncu-n64.csv"])
def test_a_profile_never_takes_the_room_of_samples(
    bundle: Any, tmp_path: Path, profile: str
) -> None:
    folder, archive = tmp_path / "run", tmp_path / "run.tgz"
    folder.mkdir()
    (folder / profile).write_bytes(os.urandom(20_000))
    (folder / "samples.parquet").write_bytes(os.urandom(30_000))
    assert bundle.pack(folder, archive, 45_000) == [profile]


def test_an_archive_is_what_tar_reads_and_gives_back_every_byte(
    bundle: Any, tmp_path: Path
) -> None:
    folder, archive, back = tmp_path / "run", tmp_path / "run.tgz", tmp_path / "back"
    (folder / "deep" / "er").mkdir(parents=True)
    content = {"a.csv": os.urandom(1300), "deep/er/b.json": b"", "deep/c": bytes(512)}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    assert bundle.main([str(folder), str(archive)]) == 0
    back.mkdir()
    done = subprocess.run(["tar", "-xzf", archive, "-C", back], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = {str(p.relative_to(back)): p.read_bytes() for p in back.rglob("*") if p.is_file()}
    assert found == content


def test_an_archive_inside_its_folder_is_no_part_of_itself(bundle: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    archive = tmp_path / "a.tgz"
    bundle.pack(tmp_path, archive)
    bundle.pack(tmp_path, archive)
    with tarfile.open(archive) as opened:
        assert opened.getnames() == ["a"]


# What is here


def loaded(name: str) -> Any:
    """A script of .ci as a module."""
    spec = importlib.util.spec_from_file_location(name, CI / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here() -> Any:
    return loaded("gpu_here")


def test_what_mssbench_depends_on_is_asked_for_and_carried(here: Any) -> None:
    """All but SciPy, which is large: without it some methods have rows that say so."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=]", line)[0] for line in dependencies} - {"scipy"}
    assert {name.replace("-", "_") for name in names} == set(here.NEEDED)
    head = (CI / "gpu").read_text().partition("set -uo")[0]
    carried = re.findall(r"pip download(.*?)rm wheels", head, re.DOTALL)
    large = {"torch", "numpy", "pyarrow"}  # there already, or with a bound of its own
    assert names - large <= set(carried[0].split())


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no driver\nat all")


def answers(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: 1.0))


@pytest.mark.parametrize(
    ("missing", "cuda", "ones", "said"),
    [
        ((), "13.0", answers, []),
        (("torch",), "13.0", answers, ["No torch: install its build for CUDA."]),
        (
            ("rich",),
            "13.0",
            answers,
            ["No rich: pip install it, or carry it: the head of .ci/gpu says how."],
        ),
        (("cupy",), None, answers, ["torch 3 is built without CUDA: install its build for CUDA."]),
        (
            (),
            "13.0",
            broken,
            [
                "torch cannot use a GPU (RuntimeError: no driver): `nvidia-smi` must show one, and "
                "a driver for CUDA 13.0."
            ],
        ),
    ],
)
def test_each_thing_that_is_missing_has_its_sentence(
    here: Any,
    monkeypatch: pytest.MonkeyPatch,
    missing: tuple[str, ...],
    cuda: str | None,
    ones: Any,
    said: list[str],
) -> None:
    library = SimpleNamespace(__version__="3", version=SimpleNamespace(cuda=cuda), ones=ones)
    monkeypatch.setattr(here, "find_spec", lambda name: None if name in missing else name)
    monkeypatch.setattr(here.importlib, "import_module", lambda _: library)
    assert here.lacking() == said


@pytest.mark.parametrize(
    ("missing", "ones", "said"),
    [
        ((), answers, []),
        (
            ("triton", "pytest"),
            answers,
            ["No triton: its kernel is not measured.", "No pytest: no test is run."],
        ),
        (("cupy",), answers, ["No cupy: no kernel of this project is launched; "]),
        ((), broken, ["CuPy cannot use a GPU (RuntimeError: no driver): no kernel of "]),
    ],
)
def test_what_it_goes_without_has_a_sentence_as_well(
    here: Any, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], ones: Any, said: list[str]
) -> None:
    monkeypatch.setattr(here, "find_spec", lambda name: None if name in missing else name)
    library = SimpleNamespace(ones=ones)
    monkeypatch.setattr(here.importlib, "import_module", lambda _: library)
    found = here.going_without()
    assert len(found) == len(said)
    assert all(x.startswith(y) for x, y in zip(found, said, strict=True))


@pytest.mark.parametrize(("module", "code"), [("json", 0), ("no_such_module", 1)])
def test_whether_python_has_a_module_is_an_exit_status(module: str, code: int) -> None:
    command = [sys.executable, CI / "gpu_here.py", "--has", module]
    assert subprocess.run(command, timeout=60).returncode == code


@pytest.mark.exhaustive
def test_a_machine_without_a_gpu_is_told_so() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, CI / "gpu_here.py"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nothing can run here:\n  ")
