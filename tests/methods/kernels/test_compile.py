"""Compiled for real GPUs, without one: registers, and nothing spilled."""

import json
from pathlib import Path
from typing import Any

import pytest

from mssbench.methods.kernels import resources
from mssbench.methods.kernels.planner import LIMITS
from mssbench.methods.kernels.variants import VARIANTS, Variant

pytest.importorskip("cuda.core", reason="pip install cuda-core nvidia-cuda-nvrtc")
# What each kernel takes, by `python -m mssbench.methods.kernels.resources --json`.
KNOWN = json.loads((Path(__file__).parent / "kernel_resources.json").read_text())
OTHERS = ("sm_80", "sm_100", "sm_120")
MOST_SPILLED = 64  # bytes, elsewhere than on Hopper: bounds of a launch are chosen for that
# The compiler's version moves registers by some; more than that is a change of ours.
MOVED = 8


def sample(arch: str) -> list[Variant]:
    """Of each kind the largest that fits, for architectures beside the one all are compiled for."""
    fitting = [v for v in VARIANTS if v.shared_bytes <= LIMITS[arch].shared_per_block]
    kinds = {(v.family, v.dtype, v.operands): v for v in fitting}
    return list(kinds.values())


def cases() -> list[Any]:
    """Every kernel for Hopper, and a sample of them for the others: most of them marked slow."""
    few = [v for v in sample("sm_90") if v.dtype == "float32" and not v.operands]
    quick = {v.symbol for v in few if v.size < 96}  # larger kernels take seconds to compile
    chosen = [("sm_90", v) for v in VARIANTS] + [(arch, v) for arch in OTHERS for v in sample(arch)]
    return [
        pytest.param(
            arch,
            v,
            id=f"{arch}-{v.symbol}",
            marks=[] if arch == "sm_90" and v.symbol in quick else pytest.mark.slow,
        )
        for arch, v in chosen
    ]


@pytest.mark.sampled(slow=6)
@pytest.mark.parametrize(("arch", "variant"), cases())
def test_what_a_kernel_takes(arch: str, variant: Variant) -> None:
    found = resources.compile_for(variant, arch)
    known = KNOWN[arch][variant.symbol]
    assert found.registers <= known["registers"] + MOVED
    assert found.registers * variant.threads <= 65536
    assert found.spilled <= (0 if arch == "sm_90" else MOST_SPILLED)
    assert arch != "sm_90" or found.stack == 0
    assert known["shared_bytes"] == variant.shared_bytes


def test_the_table_has_every_kernel_that_fits() -> None:
    for arch in ("sm_90", *OTHERS):
        limit = LIMITS[arch].shared_per_block
        assert set(KNOWN[arch]) == {v.symbol for v in VARIANTS if v.shared_bytes <= limit}
        assert all(row["blocks_at_once"] >= 1 for row in KNOWN[arch].values())
        assert all(row["spilled"] <= MOST_SPILLED for row in KNOWN[arch].values())
    assert not any(row["spilled"] or row["stack"] for row in KNOWN["sm_90"].values())
