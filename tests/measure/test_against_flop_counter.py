"""The counts of a row against torch's own FlopCounterMode, for methods made of products alone."""

import pytest
import torch
from helpers.matrices import TORCH64
from torch.utils.flop_counter import FlopCounterMode

from mssbench.measure.inputs import Rotation
from mssbench.measure.work import work
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.testing.matrices import spectrum, with_spectrum

N, BATCH = 6, 3
STEPS = (("iterations", 4),)
TRACE = (("norm", "trace"),)
# Decompositions and inverses are left out: FlopCounterMode does not count them.
FORWARDS = [
    ("newton_schulz", STEPS),
    ("newton_schulz", STEPS + TRACE),
    ("newton_schulz_baddbmm", STEPS),
    ("newton_schulz", (("iterations", 1),)),
    ("inverse_newton", STEPS),
    ("inverse_newton_ho", STEPS),
    ("minimax", STEPS),
    ("minimax_hybrid", ()),
    ("scaled_cans", ()),
    ("taylor", (("degree", 7), *TRACE)),
    ("taylor_paterson_stockmeyer", (("degree", 9),)),
    ("chebyshev", (("degree", 7),)),
    ("power_iteration", (("iterations", 5),)),
]
BACKWARDS = [
    ("newton_schulz", "autodiff", STEPS),
    ("newton_schulz_baddbmm", "autodiff", STEPS + TRACE),
    ("newton_schulz", "newton_schulz_adjoint", STEPS),
    ("newton_schulz", "lyapunov_newton_schulz", (*STEPS, ("backward_iterations", 5))),
    ("minimax", "lyapunov_minimax", ()),
    ("chebyshev", "autodiff", ()),
    ("taylor_paterson_stockmeyer", "lyapunov_newton_schulz", ()),
]


def counted(forward, backward, given):
    """The columns of a call's work by phase, and the flops that torch has seen meanwhile."""
    a = TORCH64.put(with_spectrum(spectrum("near_one", N), batch=BATCH))
    g = torch.ones_like(a)
    pair = roots.pair(registry.lookup("forward", forward).functions[0], forward, backward, given)
    with FlopCounterMode(display=False) as seen:
        found = work(pair, "torch", "cpu", Rotation(a, g, 0).first)
    return found, seen.get_total_flops()


@pytest.mark.parametrize(("forward", "given"), FORWARDS, ids=str)
def test_a_forward_has_the_flops_that_torch_counts(forward, given):
    found, flops = counted(forward, None, given)
    assert found["forward"]["flops"] == pytest.approx(flops, rel=1e-12)
    assert found["forward"]["products"] == pytest.approx(flops / (2 * N**3 * BATCH))
    assert flops > 0


@pytest.mark.parametrize(("forward", "backward", "given"), BACKWARDS, ids=str)
def test_a_step_has_the_flops_that_torch_counts(forward, backward, given):
    found, flops = counted(forward, backward, given)
    assert found["step"]["flops"] == pytest.approx(flops, rel=1e-12)
    assert found["step"]["products"] == pytest.approx(flops / (2 * N**3 * BATCH))
    assert 0 < found["backward"]["flops"] < found["step"]["flops"]


# `power_iteration` multiplies by vectors alone, at a cost that depends on n: it declares n = 64.
DECLARED = [each for each in FORWARDS if each[0] != "power_iteration"]


@pytest.mark.parametrize(("forward", "given"), DECLARED, ids=str)
def test_the_declared_products_are_those_that_torch_counts(forward, given):
    """A product by one vector, 1 / n of a product, is not declared."""
    method = registry.lookup("forward", forward)
    a = TORCH64.put(with_spectrum(spectrum("near_one", N), batch=BATCH))
    complete = method.complete(dict(given))
    with FlopCounterMode(display=False) as seen:
        method.call(a, frozenset(method.functions[:1]), **complete)
    undeclared = seen.get_total_flops() / (2 * N**3 * BATCH) - method.cost(complete)
    assert -1e-12 <= undeclared <= 1 / N + 1e-12
