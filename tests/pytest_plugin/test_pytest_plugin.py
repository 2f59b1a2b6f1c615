"""`pytest --mssbench`, run as a user of another project runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.runs import write_suite
from helpers.tables import called

import mssbench

TEST = """
from mssbench.methods.registry import Root, register_forward

@register_forward(cite="mine, 2026", products=lambda: 1.0, libraries=("torch",), yields=("sqrt",))
def mine(a) -> Root:
    import torch
    w, v = torch.linalg.eigh(a)
    return Root(sqrt=(v * w.clamp_min(0).sqrt()[..., None, :]) @ v.mT)

def test_mine(mssbench):
    row = mssbench("torch/mine", size=8, batch=4, precision="float64")
    assert row["status"] == "ok"
    assert row["root_error"] < 1e-12

WRONG = {"size": 8, "batch": 4, "iterations": 1, "problem": "logspec(condition=1e6)"}

def test_wrong(mssbench):
    mssbench("torch/newton_schulz", **WRONG)

def test_judged(mssbench):
    assert mssbench("torch/newton_schulz", wrong=True, **WRONG)["root_error"] > 0.1

def test_absent(mssbench):
    mssbench("cupy/eigh", size=8, batch=4, device="cuda")
"""


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
    # in a worker of pytest-xdist, as this process may be one, benchmarks are disabled
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(
        tmp_path,
        "forward = ['numpy/eigh', 'torch/eigh']",
        "forward = 'torch/eigh'\nbackward = 'loewner'",
    )


@pytest.mark.slow
def test_cells_become_benchmarks_and_their_json_a_run(
    tmp_path: Path, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(tmp_path, "--mssbench", suite, "--benchmark-json", "bench.json", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    names = {b["name"] for b in found["benchmarks"]}
    assert names == {"numpy/eigh", "torch/eigh", "torch/eigh + loewner"}
    (step,) = (b for b in found["benchmarks"] if b["name"] == "torch/eigh + loewner")
    assert step["extra_info"]["mssbench"]["gradient_error"] < 1e-10
    assert step["extra_info"]["mssbench"]["phase"] == "step"
    assert step["stats"]["rounds"] >= 5
    assert " n=4 b=2 " in step["group"]
    code, _, err = called(capsys, "import", tmp_path / "bench.json", "--out", tmp_path / "run")
    assert code == 0, err
    frame = mssbench.load(tmp_path / "run")
    assert len(frame) == 3
    assert frame["seconds_median"].notna().all()
    assert set(frame["environment"]) != {""}
    run_code, out, _ = called(capsys, "check", tmp_path / "run", "--baseline", tmp_path / "run")
    assert (run_code, "root_error" in out) == (0, True)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_saved_benchmarks_are_compared_by_pytest_benchmark(tmp_path: Path, suite: Path) -> None:
    only = (
        "--mssbench-only",
        "forward == 'eigh' and backward == 'none'",
        "--mssbench-set",
        "size=5",
    )
    first = run(tmp_path, "--mssbench", suite, *only, "--benchmark-autosave", "-q")
    assert first.returncode == 0, first.stdout
    again = run(
        tmp_path,
        "--mssbench",
        suite,
        *only,
        "--benchmark-compare",
        "-q",
        "--benchmark-compare-fail=min:100000%",
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "NOW" in again.stdout  # it found the same names
    (saved,) = (tmp_path / ".benchmarks").glob("*/0001_*.json")
    document = json.loads(saved.read_text())
    for each in document["benchmarks"]:
        each["stats"]["min"] /= 1e4
    saved.write_text(json.dumps(document))
    slower = run(
        tmp_path,
        "--mssbench",
        suite,
        *only,
        "--benchmark-compare",
        "-q",
        "--benchmark-compare-fail=min:100000%",
    )
    assert slower.returncode != 0
    assert "Performance has regressed" in slower.stdout + slower.stderr


@pytest.mark.slow
def test_a_fixture_measures_methods_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TEST)
    done = run(tmp_path, "-q", "-rxs", "test_mine.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 2 passed, 1 skipped" in done.stdout
    assert "inaccurate" in done.stdout or "diverged" in done.stdout


@pytest.mark.slow
def test_tests_of_the_project_are_left_out_unless_named(tmp_path: Path, suite: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    alone = run(tmp_path, "--mssbench", suite, "--collect-only", "-q")
    assert "test_other" not in alone.stdout
    assert alone.stdout.count("::test_cell[") == 3
    both = run(tmp_path, "--mssbench", suite, "--collect-only", "-q", "test_other.py")
    assert "test_other" in both.stdout
    assert both.stdout.count("::test_cell[") == 3
    none = run(tmp_path, "--collect-only", "-q")
    assert "::test_cell[" not in none.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--mssbench", "smok"), "Did you mean 'smoke'?"),
        pytest.param(
            ("--mssbench", "smoke", "--mssbench-only", "siz > 3"),
            "Did you mean 'size'?",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--mssbench", "smoke", "--mssbench-set", "precision=float23"),
            "Did you mean 'float32'?",
            marks=pytest.mark.slow,
        ),
        (("--mssbench", "smoke", "-p", "no:benchmark"), "needs pytest-benchmark"),
    ],
)
def test_bad_input_is_a_usage_error_that_names_the_nearest(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode in (2, 4)
    assert why in done.stdout + done.stderr


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, mssbench.pytest_plugin; print({'torch', 'numpy', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
