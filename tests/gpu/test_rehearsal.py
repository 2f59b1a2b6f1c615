"""The tests that need a GPU, with the emulation as the GPU: a mistake of theirs is found here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpu import test_kernels as rehearsed
from helpers.emulated import Emulation

from mssbench.methods.kernels.variants import Variant


@pytest.fixture(autouse=True)
def stage(gpu: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsed, "fits", lambda _: None)
    monkeypatch.setattr(rehearsed, "on_gpu", lambda x: torch.from_numpy(np.ascontiguousarray(x)))


def smallest(variants: list[Variant]) -> Any:
    """Of each family, and of each kind of operands."""
    kinds = {(v.family, v.operands): v for v in reversed(variants)}
    first = {v.family: v for v in reversed(kinds.values())}  # by default one of each family
    cases = [
        pytest.param(v, marks=() if v in first.values() else pytest.mark.slow)
        for v in kinds.values()
    ]
    return pytest.mark.parametrize("variant", cases, ids=lambda v: v.symbol)


@smallest(rehearsed.BY_FMA)
def test_the_bits_of_the_emulation(
    variant: Variant, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed.test_a_gpu_gives_the_bits_of_the_emulation(variant, built, monkeypatch)


@pytest.mark.sampled(1, slow=1)
@smallest(rehearsed.WARPS)
def test_tensor_cores(variant: Variant, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = rehearsed.test_tensor_cores_give_the_emulation_but_for_what_their_sums_cut_off
    test(variant, built, monkeypatch)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("operands", rehearsed.UNIT)
def test_how_exact_tensor_cores_are(operands: str) -> None:
    rehearsed.test_tensor_cores_are_as_exact_as_their_operands(32, operands)


@pytest.mark.slow
def test_what_torch_asks_of_a_launch() -> None:
    rehearsed.test_batches_of_any_size_are_right(1)
    rehearsed.test_batches_of_any_size_are_right(0)
    rehearsed.test_matrices_of_any_layout()
