"""A dry run of a GPU's suite where there is none: its cells, and what the kernels would take."""

import json
from typing import Any

import pytest
from helpers.tables import called

from mssbench.methods.kernels.planner import LIMITS
from mssbench.suite import suite
from mssbench.suite.forecast import estimate, kernels

GPU_SUITES = ("gpu_first", "gpu_large", "gpu_paper", "gpu_small")


@pytest.mark.parametrize("name", GPU_SUITES)
def test_a_dry_run_needs_no_gpu(name: str, capsys: Any) -> None:
    code, text, _ = called(capsys, "run", name, "--dry-run", "--json")
    assert code == 0
    found = json.loads(text)
    assert found["devices"] == ["cuda"]
    assert found["cells"] > 50
    assert "fused" in {row["method"] for row in found["kernels"]}
    for row in found["kernels"]:
        refused = row["kernel"].startswith("none: ")
        assert refused == (row["blocks"] == 0)
        assert row["shared_bytes"] <= LIMITS["sm_90"].shared_per_block


def test_people_are_told_the_kernel_and_its_blocks(capsys: Any) -> None:
    code, text, _ = called(
        capsys, "run", "gpu_small", "--dry-run", "--only", "forward == 'fused' and size == 32"
    )
    assert code == 0
    assert "kernels on sm_90" in text
    assert "mss_iterate_f32_n32" in text


def test_one_launch_is_estimated_as_one() -> None:
    loaded = suite.load(suite.find("gpu_small"), auto="cuda", overrides=["size=8", "batch=16"])
    cost = {
        c.forward: estimate(c, loaded.policy).seconds
        for c in loaded.cells
        if c.backward == "none" and c.iterations == 12
    }
    assert cost["newton_schulz_graph"] < cost["newton_schulz"]


def test_what_the_planner_refuses_is_said_with_the_reason() -> None:
    cells = suite.load(
        suite.find("gpu_small"), auto="cuda", overrides=["size=100", "precision=float64", "batch=4"]
    ).cells
    found = {row["method"]: row["kernel"] for row in kernels(cells)}
    assert found["fused"] == "none: iterate in float64 fits a block's memory for n <= 88: n is 100"


@pytest.mark.parametrize("name", GPU_SUITES)
def test_what_the_suite_names_first_comes_first(name: str) -> None:
    loaded = suite.load(suite.find(name), auto="cuda")
    axes = loaded.document["axes"]
    for key in ("problem", "size"):
        first = axes[key][0] if isinstance(axes[key], list) else axes[key]
        assert str(getattr(loaded.cells[0], key)).startswith(str(first).partition("(")[0])


def test_no_gpu_is_still_an_error_for_a_run(capsys: Any) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    code, _, err = called(capsys, "run", "gpu_small", "--only", "size == 8")
    assert code == 2
    assert "device cuda is not available" in err
    assert err.count("the NVIDIA driver shows none") <= 1  # torch and CuPy say the same
