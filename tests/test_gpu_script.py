"""The flow of .ci/gpu, with commands that only write down how they were called."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CI = Path(__file__).parent.parent / ".ci"
STUB = r"""#!/bin/bash
name=$(basename "$0")
echo "$name $*" >>"$CALLS"
if [[ -n "${FAIL:-}" && "$name $*" =~ $FAIL ]]; then echo "${SAYS:-}"; exit "${CODE:-1}"; fi
case "$name $*" in
    *gpu_here.py) echo "a GPU ${MACHINE:-}" ;;
    *"examine launch"*) echo ready ;;
    python3*" run "*) mkdir -p "$8" && touch "$8/table.csv"; echo "${SAYS:-}" ;;
    *claims*--json) printf '"verdict": "holds"\n"verdict": "not measured"\n"verdict": "holds"\n' ;;
esac
if [[ "$name" = ncu && "$*" =~ --export\ ([^ ]+) ]]; then echo x >"${BASH_REMATCH[1]}.ncu-rep"; fi
"""
TOOLS = ["memcheck", "racecheck", "synccheck", "initcheck"]
# name of a step, share in percent of the time that is left, and what it calls
STEPS = [
    ("doctor", 8, "mssbench doctor"), ("kernels", 20, "examine table"),
    ("tests/test_gpu_kernels.py", 35, "pytest .* tests/test_gpu_kernels.py"),
    ("gpu_small", 60, "run gpu_small"),
    *((tool, 12, f"compute-sanitizer --tool {tool}") for tool in TOOLS),
    ("ncu, n = 32", 15, "ncu .* --size 32"), ("ncu, n = 64", 15, "ncu .* --size 64"),
    ("gpu_large", 45, "run gpu_large"), ("gpu_paper", 45, "run gpu_paper"),
    ("tests/test_gpu.py", 45, "pytest .* tests/test_gpu.py"), ("quick", 50, "run quick"),
    ("selftest", 100, "mssbench selftest"), ("smoke", 50, "run smoke"),
    ("precision", 50, "run precision"), ("standard", 95, "run standard"),
]  # fmt: skip


class Script:
    """.ci/gpu in a folder, and what it called."""

    def __init__(self, path: Path) -> None:
        self.folder, self._bin, self._log = path / "out", path / "bin", path / "calls"
        self._bin.mkdir()
        for name in ("python3", "compute-sanitizer", "ncu"):
            (self._bin / name).write_text(STUB)
            (self._bin / name).chmod(0o755)

    def __call__(self, *arguments: str, **environment: str) -> Any:
        self._log.write_text("")
        settings = os.environ | {"CALLS": str(self._log), **environment}
        settings["PATH"] = f"{self._bin}:{settings['PATH']}"
        return subprocess.run(
            ["bash", CI / "gpu", *(arguments or (self.folder, "--minutes", "8"))],
            capture_output=True, text=True, env=settings, timeout=60,
        )  # fmt: skip

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines()

    def called(self, pattern: str) -> bool:
        return any(re.search(pattern, call) for call in self.calls)

    def summary(self, folder: Path | None = None) -> dict[str, str]:
        """How each step ended, with what is said of it."""
        lines = ((folder or self.folder) / "summary.txt").read_text().splitlines()
        found = {}
        for line in lines:
            how, name, more = re.fullmatch(r"(.{14}) +\d+ s  ([^:]+)(.*)", line).groups()  # type: ignore[union-attr]
            found[name] = how.strip() + more
        return found


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_every_step_in_its_order_with_its_share_of_the_time(script: Script) -> None:
    done = script()
    assert (done.returncode, done.stderr) == (0, "")
    found = re.findall(r"^== (.+) \(at most (\d+) s\)$", done.stdout, re.M)
    assert [name for name, _ in found] == [name for name, _, _ in STEPS]
    for (name, limit), (_, percent, _) in zip(found, STEPS, strict=True):
        assert int(limit) == pytest.approx(480 * percent / 100, abs=12), name
    order = [next(i for i, call in enumerate(script.calls) if re.search(what, call))
             for _, _, what in STEPS]  # fmt: skip
    assert order == sorted(order)
    assert {how.partition(":")[0] for how in script.summary().values()} == {"passed"}


def test_a_suite_stops_before_its_share_is_over_and_its_claims_follow(script: Script) -> None:
    done = script(SAYS="the time was over; the same command goes on.")
    (run,) = [call for call in script.calls if " run gpu_small " in call]
    assert "--only device == 'cuda'" in run
    assert 60 * float(run.split("--minutes ")[1]) == pytest.approx(0.6 * 480 - 15, abs=6)
    assert script.called("claims .*/gpu_small$")
    assert not script.called("claims .*/quick")  # it makes none
    assert "holds" in (script.folder / "claims-gpu_small.json").read_text()
    assert script.summary()["gpu_small"] == "passed: in part; claims: 2 holds, 1 not measured"
    assert "2 holds, 1 not measured" in done.stdout.partition("== summary")[2]


def test_what_passed_is_not_repeated_and_tables_go_on(script: Script) -> None:
    script()
    assert script().returncode == 0
    for what in ("-m pytest", "-m mssbench.kernels.examine", "compute-sanitizer", "ncu"):
        assert not script.called(what), what
    for what in ("run gpu_small", "run gpu_large", "run standard"):
        assert script.called(what), what
    found = script.summary()
    assert found["tests/test_gpu.py"] == found["racecheck"] == "passed: before"


@pytest.mark.parametrize(
    ("fails", "name"),
    [
        pytest.param(what, name, marks=pytest.mark.slow if number % 4 else [])
        for number, (name, _, what) in enumerate(STEPS)
        if "ncu" not in name
    ],
)
def test_a_step_that_fails_is_a_failure_and_costs_no_other_step(
    script: Script, fails: str, name: str
) -> None:
    done = script(FAIL=fails, SAYS="ready", CODE="9")
    assert done.returncode == 1
    assert all(script.called(what) for _, _, what in STEPS)
    found = script.summary()
    assert found.pop(name).startswith("FAILED: exit status 9")
    assert {how.partition(":")[0] for how in found.values()} == {"passed"}
    assert script().returncode == 0
    assert script.called(fails), "it is tried again"


@pytest.mark.parametrize("tool", ["compute-sanitizer", "ncu"])
def test_a_tool_that_the_machine_refuses_is_no_failure_and_said(script: Script, tool: str) -> None:
    done = script(FAIL=f"^{tool} ", SAYS="Device not supported")
    assert done.returncode == 0
    names = TOOLS if tool != "ncu" else ["ncu, n = 32", "ncu, n = 64"]
    for name in names:
        assert script.summary()[name].startswith("not here: refused, see ")
    assert "Device not supported" in done.stdout


def test_without_time_nothing_is_begun_and_that_is_said(script: Script) -> None:
    done = script(str(script.folder), "--minutes", "0")
    assert done.returncode == 0
    assert script.calls == ["python3 .ci/gpu_here.py"]
    assert set(script.summary().values()) == {"no time left"}
    assert list(script.summary()) == [name for name, _, _ in STEPS]


def test_without_a_gpu_nothing_is_begun_and_the_exit_status_says_misuse(script: Script) -> None:
    done = script(FAIL="gpu_here", CODE="2")
    assert done.returncode == 2
    assert len(script.calls) == 1
    assert not script.folder.exists()


def test_another_machine_has_a_folder_of_its_own(script: Script) -> None:
    script()
    assert script(MACHINE="of another kind").returncode == 0
    assert script.called("-m pytest")
    (run,) = [call for call in script.calls if " run gpu_small " in call]
    folder = Path(run.split("--out ")[1].split()[0]).parent
    assert folder.parent == script.folder
    assert script.summary(folder)["tests/test_gpu.py"] == "passed"
    script()
    assert not script.called("-m pytest")


@pytest.mark.parametrize("arguments", [[""], ["x", "--minute", "8"], ["x", "--minutes", "soon"]])
def test_a_call_it_does_not_understand_is_misuse(script: Script, arguments: list[str]) -> None:
    done = script(*arguments)
    assert (done.returncode, script.calls) == (2, [])
    assert done.stderr == "usage: .ci/gpu FOLDER [--minutes 8]\n"


# What is here


@pytest.fixture
def here() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_here", CI / "gpu_here.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no driver\nat all")


def answers(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: 1.0))


@pytest.mark.parametrize(
    ("missing", "cuda", "ones", "said"),
    [
        ((), "13.0", answers, []),
        (("torch",), "13.0", answers, ["No torch: install its build for CUDA."]),
        (("cupy", "rich"), "13.0", answers,
         ["No cupy: pip install cupy-cuda13x, or cupy-cuda12x for a driver of CUDA 12.",
          "No rich: pip install it, or carry it: the head of .ci/gpu says how."]),
        (("cupy",), None, answers,
         ["No cupy: pip install cupy-cuda13x, or cupy-cuda12x for a driver of CUDA 12.",
          "torch 3 is built without CUDA: install its build for CUDA."]),
        ((), "13.0", broken,
         ["torch cannot use a GPU (RuntimeError: no driver): `nvidia-smi` must show one, and a "
          "driver for CUDA 13.0.",
          "CuPy cannot use a GPU (RuntimeError: no driver): pip install cupy-cuda13x, or "
          "cupy-cuda12x for a driver of CUDA 12."]),
    ],
)  # fmt: skip
def test_each_thing_that_is_missing_has_its_sentence(
    here: Any, monkeypatch: pytest.MonkeyPatch,
    missing: tuple[str, ...], cuda: str | None, ones: Any, said: list[str],
) -> None:  # fmt: skip
    library = SimpleNamespace(__version__="3", version=SimpleNamespace(cuda=cuda), ones=ones)
    monkeypatch.setattr(here, "find_spec", lambda name: None if name in missing else name)
    monkeypatch.setattr(here.importlib, "import_module", lambda _: library)
    assert here.lacking() == said


def test_a_machine_without_a_gpu_is_told_so() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, CI / "gpu_here.py"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nothing can run here:\n  ")
