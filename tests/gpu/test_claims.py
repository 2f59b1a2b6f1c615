"""What the GPU's suites claim: every claim is decided by their own cells, on the first problem."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.emulated import Emulation
from helpers.tables import IDENTITY, frame

from mssbench.analysis import claims
from mssbench.analysis.claims import ClaimResult, ClaimVerdict
from mssbench.methods import sqrtm
from mssbench.methods.kernels import fused as fused_
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status, uniform
from mssbench.results import labels
from mssbench.suite import claims as statements
from mssbench.suite import suite

SUITES = (
    "gpu_first",
    pytest.param("gpu_large", marks=pytest.mark.slow),
    "gpu_paper",
    pytest.param("gpu_small", marks=pytest.mark.slow),  # of many cells
)
TIMES = ("seconds_median", "seconds_low", "seconds_high")
# A run of some minutes gets no further than this; see the order of the axes in the suites.
FIRST = {"problem": "logspec(condition=10000)", "precision": "float32"}


def loaded(name: str) -> suite.Suite:
    return suite.load(suite.find(name), auto="cuda")


def first(cells: Any) -> list[Cell]:
    """What decides; a suite that has none of it is decided as a whole."""
    few = [c for c in cells if all(getattr(c, k) == v for k, v in FIRST.items())]
    return few or list(cells)


def judged(name: str, cells: Any, seconds: Any = lambda _: 1e-9) -> list[ClaimResult]:
    """The verdicts had every cell been measured, in so many seconds, without an error."""
    rows = []
    for cell in cells:
        measured = dict.fromkeys(statements.VALUES, 1e-9) | dict.fromkeys(TIMES, seconds(cell))
        rows += [replace(m, values=measured).row(**IDENTITY) for m in uniform(cell, Status.OK, "")]
    return claims.judge_claims(loaded(name).document["claim"], frame(*rows))


@pytest.mark.parametrize("name", SUITES)
def test_every_claim_is_decided_by_what_is_measured_first(name: str) -> None:
    chosen = loaded(name).cells
    few = first(chosen)
    assert tuple(few) == chosen[: len(few)], "what decides is measured before anything else"
    for found in judged(name, few):
        assert found.verdict is not ClaimVerdict.UNMEASURED, (found.claim.claim, found.why)


@pytest.mark.parametrize("name", SUITES)
def test_every_row_of_ours_meets_one_to_be_held_against(name: str) -> None:
    """A size or batch that the other side was not measured at would be left out unseen."""
    rows = [m.row(**IDENTITY) for c in loaded(name).cells for m in uniform(c, Status.OK, "")]
    table = labels.with_labels(frame(*rows))
    for claim in statements.read(loaded(name).document["claim"]):
        left = claim.rows("left", table)
        if "right" in claim.conditions:
            right = claim.rows("right", table)
            met = left.merge(right, on=claim.shared, suffixes=("", "_right"))
        else:
            met = left
        asked, answered = (
            set(x[["size", "batch", "problem"]].itertuples(index=False, name=None))
            for x in (left, met)
        )
        assert asked == answered, claim.claim


@pytest.mark.parametrize("name", SUITES)
def test_a_claim_says_in_words_what_it_selects(name: str) -> None:
    table = loaded(name).document["claim"]
    assert len({t["claim"] for t in table}) == len(table)
    for claim in statements.read(table):
        assert re.fullmatch(r"[A-Z].*\.", claim.claim)
        ours = claim.source.startswith("this project")
        assert ours or (name == "gpu_paper" and re.search(r"20\d\d; criterion: ", claim.source))
        if claim.factor > 1:
            words = {10: "10x", 20: "20x", 6: "6x", 4: "4x|quarter"}[int(claim.factor)]
            assert re.search(words, claim.claim), claim.claim


@pytest.mark.sampled(1, slow=1)
@pytest.mark.parametrize("name", SUITES)
def test_a_claim_of_time_holds_for_who_is_faster_by_far_and_not_for_who_ties(name: str) -> None:
    few = first(loaded(name).cells)
    for found, tied in zip(judged(name, few, rank), judged(name, few), strict=True):
        if found.claim.value == "seconds_median":
            assert found.verdict is ClaimVerdict.HOLDS, found.claim.claim
            assert tied.verdict is ClaimVerdict.FAILS, found.claim.claim


def rank(cell: Cell) -> float:
    """Tensor cores, then other kernels, the best chains, the others, and decompositions last."""
    if cell.forward in ("eigh", "svd"):
        return 1.0
    if cell.forward.startswith("newton_schulz") or cell.forward == "pade":
        return 1e-2
    ours = {
        "fused_tensor_cores": 1e-8,
        "minimax": 1e-4,
        "minimax_graph": 1e-4,
        "minimax_hybrid": 1e-4,
    }
    return ours.get(cell.forward, 1e-6)


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_that_runs_under_a_deadline_has_one_pass(name: str) -> None:
    assert loaded(name).policy.passes == 1


def test_the_first_suite_is_small_enough_for_two_minutes() -> None:
    """A cell takes about two seconds, most of them to build its problem and to start its clocks."""
    assert 50 <= len(loaded("gpu_first").cells) <= 65


@pytest.mark.parametrize("name", ["gpu_first", pytest.param("gpu_small", marks=pytest.mark.slow)])
def test_the_same_schedule_is_the_same(name: str) -> None:
    """Twelve Newton–Schulz steps each way, from the same bound."""
    cells = loaded(name).cells
    fused = [c.parameters for c in cells if c.forward == "fused" and c.iterations == 0]
    chain = [c.parameters for c in cells if c.forward.startswith("newton_schulz")]
    assert fused
    for p in fused:
        assert (p["iterations"], p["finish"], p["norm"]) == (0, 12, "min_ws_minc")
        assert p.get("backward_degree", 3) == 3
        assert (p.get("backward_iterations", 0), p.get("backward_finish", 12)) == (0, 12)
    for p in chain:
        assert (p["iterations"], p["norm"]) == (12, "min_ws_minc")
        assert p.get("backward_iterations", 12) == 12


@pytest.mark.slow
def test_the_same_schedule_gives_the_same_root_and_as_many_steps_of_its_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from converged, so that another schedule would show. The gradients scale Y otherwise."""
    monkeypatch.setattr(fused_, "driver_of", lambda _: Emulation(tmp_path))
    cells = {
        c.forward: c.parameters
        for c in first(loaded("gpu_small").cells)
        if c.backward in ("lyapunov_fused", "lyapunov_newton_schulz") and c.iterations in (0, 12)
    }
    chain = cells["newton_schulz"]
    y, s = root_and_gradient("fused", "lyapunov_fused", cells["fused"])
    y_chain, s_chain = root_and_gradient("newton_schulz", "lyapunov_newton_schulz", chain)
    assert torch.allclose(y, y_chain, rtol=1e-12, atol=1e-14)
    fewer = chain | {"backward_iterations": chain["backward_iterations"] - 1}
    _, s_fewer = root_and_gradient("newton_schulz", "lyapunov_newton_schulz", fewer)
    assert (s - s_chain).norm() < 0.2 * (s_fewer - s_chain).norm()


def root_and_gradient(forward: str, backward: str, parameters: Any) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    a = (q * torch.logspace(0, -7, 6, dtype=torch.float64)) @ q.mT
    a = ((a + a.mT) / 2)[None].requires_grad_()
    y = sqrtm.sqrtm(a, forward=forward, backward=backward, **parameters)
    y.sum().backward()
    return y.detach(), a.grad
