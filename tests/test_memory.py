"""Bytes, against calls whose bytes are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_measure import CELL, rows

from mssbench import memory
from mssbench.registry import Root

MIB = 2**20


def test_the_peak_of_torch_on_the_cpu_is_what_was_alive_at_once() -> None:
    with memory.peak("torch", "cpu") as peak:
        first = torch.empty(MIB, dtype=torch.uint8)
        second = torch.empty(2 * MIB, dtype=torch.uint8)
        del first, second
        third = torch.empty(MIB, dtype=torch.uint8)
    assert peak.whole == 3 * MIB
    del third


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_the_second_half_counts_beyond_what_was_alive_at_the_mark(library: str) -> None:
    with memory.peak(library, "cpu") as peak:
        first = _bytes(library, 3 * MIB)
        del first
        kept = _bytes(library, 2 * MIB)
        peak.mark()
        new = _bytes(library, MIB)
    assert peak.whole is not None
    assert peak.second is not None
    assert peak.whole == pytest.approx(3 * MIB, rel=0.01)
    assert peak.second == pytest.approx(MIB, rel=0.01)
    del kept, new


def _bytes(library: str, count: int) -> object:
    if library == "torch":
        return torch.empty(count, dtype=torch.uint8)
    return np.empty(count, dtype=np.uint8)


def test_saved_storages_count_once_and_the_input_not_at_all() -> None:
    leaf = torch.ones(1024, requires_grad=True)
    with memory.saved_for_backward() as saved:
        y = leaf * leaf  # saves the input, twice
        z = y * y  # saves y, twice
    assert saved.bytes(z, leaf) == 2 * 4096  # y, and the root z


def test_the_bytes_of_a_root_are_those_of_its_fields() -> None:
    y, w, v = np.zeros((2, 3, 3)), np.zeros((2, 3)), np.zeros((2, 3, 3))
    assert memory.root_bytes(Root(sqrt=y, eigen=(w, v))) == 8 * (18 + 6 + 18)


def test_a_pair_saves_what_its_backward_reads_and_its_root() -> None:
    b, n = CELL.batch, CELL.size
    for m in rows(replace(CELL, backward="loewner")):
        assert m.row()["saved_bytes"] == 8 * b * (n + 2 * n * n)  # w, v and the root
    iterative = replace(CELL, forward="newton_schulz", iterations=9, options="norm=trace")
    implicit = replace(iterative, backward="lyapunov_newton_schulz", backward_iterations=9)
    assert rows(implicit)[1].row()["saved_bytes"] == 8 * b * n * n  # the root alone
    recorded = rows(replace(iterative, backward="autodiff"))[1].row()["saved_bytes"]
    assert recorded > 3 * 9 * 8 * b * n * n * 0.8  # about three matrices a step


def test_peaks_are_deterministic() -> None:
    cell = replace(CELL, backward="loewner", size=16)
    first, second = ([m.row()["peak_bytes"] for m in rows(cell)] for _ in range(2))
    assert first == second
    assert first[1] >= 16 * 16 * 4 * 8
