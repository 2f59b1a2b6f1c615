"""Gradients without eigenvectors: back through the steps, one dense solve, and the sign iteration.

The adjoint of Newton–Schulz is autodiff by hand, so autodiff and finite differences judge it. The
Lyapunov solvers have a scalar law, and are judged by eigenpairs and by each other.
"""

from functools import partial

import numpy as np
import pytest
import torch
from helpers.matrices import BACKWARDS_ON_CPU, TORCH64, Cost, generous

import mssbench
from mssbench.errors import InputError, Unsupported
from mssbench.measure.instruments.memory import saved_for_backward
from mssbench.methods import minimax, registry
from mssbench.methods import pair as roots
from mssbench.methods.method import FUNCTIONS, Root
from mssbench.methods.norms import NORMS, upper_bound
from mssbench.testing.matrices import (
    cotangent,
    error,
    exact_gradient,
    exact_root,
    root_and_gradient,
    rotation,
    spectrum,
    symmetric,
    with_spectrum,
)

functions = pytest.mark.parametrize("function", FUNCTIONS)
norms = pytest.mark.parametrize("norm", NORMS)
solvers = pytest.mark.parametrize(
    ("backward", "given"),
    [
        ("loewner", {}),
        ("kronecker", {}),
        ("lyapunov_newton_schulz", {"iterations": 25}),
        ("lyapunov_minimax", {"iterations": 9}),
    ],
)


def made(function, forward, backward, **parameters):
    """A pair; the parameters of the backward carry its prefix."""
    return roots.pair(function, forward, backward, tuple(sorted(parameters.items())))


def gradients(function, a, g, **parameters):
    """Those of Newton–Schulz by autodiff and by its adjoint."""
    a, g = torch.as_tensor(a), torch.as_tensor(g)
    return [
        root_and_gradient(made(function, "newton_schulz", backward, **parameters), a, g)[1]
        for backward in ("autodiff", "newton_schulz_adjoint")
    ]


def solve(backward, y, z, function, g, **given):
    """A Lyapunov solver on exact roots, outside torch."""
    return registry.lookup("backward", backward).call(Root(sqrt=y, isqrt=z), function, g, **given)


def any_cotangent(shape):
    return np.random.default_rng(5).standard_normal(shape)


# ------------------------------------------------------------------------- newton_schulz_adjoint


@functions
@norms
@pytest.mark.parametrize("iterations", range(1, 11))
def test_the_adjoint_is_autodiff_converged_or_not(function, norm, iterations):
    a = with_spectrum(spectrum("condition_100", 5))
    recorded, s = gradients(function, a, any_cotangent(a.shape), iterations=iterations, norm=norm)
    assert error(s, recorded.numpy()) < 1e-13


@functions
@pytest.mark.parametrize("norm", ["trace", "frobenius"])
def test_without_a_step_only_the_norm_has_a_gradient(function, norm):
    a = with_spectrum(spectrum("condition_100", 4))
    recorded, s = gradients(function, a, any_cotangent(a.shape), iterations=0, norm=norm)
    assert error(s, recorded.numpy()) < 1e-13


@functions
@norms
def test_the_adjoint_is_autodiff_on_singular_and_on_scaled_matrices(function, norm):
    v = rotation(6)
    x = v[:, :3] * [1.0, 0.5, 0.1]
    for a in (symmetric(x @ x.T), 1e-20 * np.eye(6), 1e20 * symmetric(x @ x.T + np.eye(6))):
        recorded, s = gradients(function, a, any_cotangent(a.shape), norm=norm, iterations=6)
        assert error(s, recorded.numpy()) < 1e-12


@functions
@norms
@pytest.mark.parametrize("iterations", [1, 2, 3, 6])
def test_the_adjoint_is_right_for_iterates_that_are_not_symmetric(function, norm, iterations):
    # Rounding makes them so in the end, by little: here by much, to see every transpose.
    a = with_spectrum(spectrum("condition_100", 5), batch=2)
    a += 0.1 * np.random.default_rng(6).standard_normal(a.shape)
    g, leaf = any_cotangent(a.shape), torch.tensor(a, requires_grad=True)
    forward = registry.lookup("forward", "newton_schulz").call
    given = {"iterations": iterations, "norm": norm}
    getattr(forward(leaf, frozenset([function]), **given), function).backward(torch.tensor(g))
    root = forward(a, frozenset([function, "iterates"]), **given)
    s = registry.lookup("backward", "newton_schulz_adjoint").call(root, function, g)
    assert error(s, symmetric(leaf.grad.numpy())) < 1e-12


@functions
@pytest.mark.parametrize("norm", ["trace", "frobenius"])
@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_finite_differences_agree_with_the_adjoint(function, norm, iterations):
    a = torch.tensor(with_spectrum(spectrum("condition_100", 3), batch=2), requires_grad=True)
    pair = made(
        function, "newton_schulz", "newton_schulz_adjoint", iterations=iterations, norm=norm
    )
    assert torch.autograd.gradcheck(lambda a: pair((a + a.mT) / 2), a)


@functions
def test_a_cotangent_that_is_not_symmetric_counts_by_its_symmetric_part(function):
    a = with_spectrum(spectrum("condition_100", 5))
    g = any_cotangent(a.shape)
    _, s = gradients(function, a, g, iterations=3)
    _, t = gradients(function, a, symmetric(g), iterations=3)
    assert torch.equal(s, t)
    assert torch.equal(s, s.mT)


@functions
@norms
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_power_of_four_passes_through_the_adjoint_bit_for_bit(function, norm, dtype):
    a = torch.tensor(with_spectrum([4, 1, 1 / 4, 1 / 100]), dtype=dtype)
    g = torch.tensor(cotangent(a.shape), dtype=dtype)
    pair = made(function, "newton_schulz", "newton_schulz_adjoint", norm=norm)
    _, s = root_and_gradient(pair, a, g)
    power = 1 if function == "sqrt" else 3
    for j in (-25, -8, -1, 2, 10, 20):
        assert torch.equal(root_and_gradient(pair, a * 4.0**j, g)[1], s * 2.0 ** (-power * j))


@functions
@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 10])
def test_the_adjoint_keeps_each_iterate_once(function, iterations):
    a = torch.tensor(with_spectrum(spectrum("near_one", 8), batch=2), requires_grad=True)
    pair = made(function, "newton_schulz", "newton_schulz_adjoint", iterations=iterations)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        pair(a)
    kept = [x for x in kept if any(x.stride())]  # without the link to `a`, which has no numbers
    matrices = [x for x in kept if x.shape == a.shape]
    assert len(matrices) == len({x.data_ptr() for x in matrices}) == max(3 * iterations - 2, 2)
    assert [x.numel() for x in kept if x.shape != a.shape] == 3 * [2]  # √c and the slope of c
    with saved_for_backward() as by_autodiff:
        root = made(function, "newton_schulz", "autodiff", iterations=iterations)(a)
    ours = sum(x.numel() * x.element_size() for x in kept)
    assert ours < by_autodiff.bytes(root, a)


@functions
def test_the_plain_root_keeps_no_iterates(function):
    forward = registry.lookup("forward", "newton_schulz")
    assert forward.call(np.eye(3), frozenset([function])).iterates == ()


@functions
def test_the_adjoint_leaves_the_iterates_as_they_were(function):
    a = with_spectrum(spectrum("condition_100", 5))
    pair = made(function, "newton_schulz", "newton_schulz_adjoint")
    root = pair.keep(a)
    for x in root.iterates:
        x.setflags(write=False)
    first, second = (pair.gradient(root, cotangent(a.shape)) for _ in range(2))
    assert (first == second).all()
    leaf = torch.tensor(a, requires_grad=True)
    y = pair(leaf)
    s, t = (torch.autograd.grad(y.sum(), leaf, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(s, t)


@functions
@norms
@pytest.mark.parametrize("iterations", range(1, 7))
def test_the_released_adjoint_is_autodiff_too(function, norm, iterations):
    a = with_spectrum(spectrum("condition_100", 5))
    a, g = torch.as_tensor(a), torch.as_tensor(any_cotangent(a.shape))
    recorded, s = (
        root_and_gradient(
            made(function, "newton_schulz", backward, iterations=iterations, norm=norm), a, g
        )[1]
        for backward in ("autodiff", "newton_schulz_adjoint_released")
    )
    assert error(s, recorded.numpy()) < 1e-13


@functions
def test_without_a_step_the_released_adjoint_is_that_of_the_norm(function):
    a, g = with_spectrum(spectrum("near_one", 4)), cotangent((3, 4, 4))
    ours, theirs = (
        made(function, "newton_schulz", name, iterations=0, norm="trace")
        for name in ("newton_schulz_adjoint", "newton_schulz_adjoint_released")
    )
    assert error(theirs.gradient(theirs.keep(a), g), ours.gradient(ours.keep(a), g)) < 1e-14


@functions
@pytest.mark.parametrize(("iterations", "products"), [(2, 8), (3, 18), (5, 38), (10, 88)])
def test_the_released_adjoint_takes_ten_products_a_step(function, iterations, products):
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    name = "newton_schulz_adjoint_released"
    pair = made(function, "newton_schulz", name, iterations=iterations)
    root = pair.keep(a)
    with Cost() as backward:
        pair.gradient(root, a)
    assert backward.total == products


@functions
@pytest.mark.parametrize("iterations", [2, 3, 5, 10])
def test_the_adjoint_costs_twice_the_forward(function, iterations):
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    pair = made(function, "newton_schulz", "newton_schulz_adjoint", iterations=iterations)
    with Cost() as forward:
        root = pair.keep(a)
    with Cost() as backward:
        pair.gradient(root, a)
    declared = pair.forward.products(**dict(pair.forward_parameters))
    assert forward.total == declared == 3 * iterations - 3
    assert backward.total == 2 * declared
    assert pair.backward.replays


def test_the_adjoint_needs_the_iterates():
    with pytest.raises(
        Unsupported,
        match=r"eigh does not yield iterates, which newton_schulz_adj.*: take backward loewner",
    ):
        roots.pair("sqrt", "eigh", "newton_schulz_adjoint")


@functions
@pytest.mark.parametrize(
    "method",
    [
        m for m in BACKWARDS_ON_CPU if not m.recorded and m.name != "loewner_parallel"
    ],  # that is on a CPU
    ids=lambda method: method.name,
)
def test_no_backward_waits_for_the_device(function, method):
    # A tensor without data has nothing to wait for: whoever asks for a number is refused.
    a, w = torch.empty(2, 6, 6, device="meta"), torch.empty(2, 6, device="meta")
    forward = registry.lookup("forward", "newton_schulz")
    iterates = forward.call(a, frozenset(["iterates"])).iterates
    root = Root(sqrt=a, isqrt=a, eigen=(w, a), iterates=iterates, differential=(a, a, w, w))
    s = method.call(root, function, a, **generous(method))
    assert (s.device, s.dtype, s.shape) == (a.device, a.dtype, a.shape)


# ------------------------------------------------------------------------------------- kronecker


@functions
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e6])
def test_a_dense_solve_agrees_with_the_eigenbasis(function, n, condition):
    a = with_spectrum(np.geomspace(1, 1 / condition, n))
    g = cotangent(a.shape)
    y, z = exact_root(a, "sqrt"), exact_root(a, "isqrt")
    s = solve("kronecker", y, z, function, g)
    assert error(s, solve("loewner", y, z, function, g)) < 1e-15 * n * condition**0.5


def test_a_dense_solve_is_refused_beyond_size_16():
    with pytest.raises(Unsupported, match="n is 17, and 16 at most"):
        solve("kronecker", np.eye(17), None, "sqrt", np.eye(17))
    a = torch.eye(17, requires_grad=True)
    with pytest.raises((Unsupported, InputError), match="16 at most"):
        mssbench.sqrtm(a, backward="kronecker").sum().backward()


# ------------------------------------------------------------------------------- lyapunov solvers


@functions
@pytest.mark.parametrize("degree", [3, 5, 9])
@pytest.mark.parametrize("finish", [0, 1])
def test_the_minimax_iteration_multiplies_by_the_mean_of_its_scalar_map(function, degree, finish):
    a = with_spectrum([4, 1, 1 / 4, 1 / 100], batch=1)[0]
    g, (w, v) = cotangent(a.shape), np.linalg.eigh(a)
    y, z = exact_root(a, "sqrt"), exact_root(a, "isqrt")
    c = upper_bound(y @ y, "min_ws_minc").item() ** 0.5
    lower, steps = 0.05, {3: 5, 5: 3, 9: 2}[degree]
    p = np.sqrt(w) / c
    for factor in minimax.plan(degree, steps, lower, finish, error=0, floor=0).factors:
        p = minimax.evaluate(factor, p)
    assert abs(1 - p).max() > 1e-8  # not converged, or the law would say nothing
    factor = (p[:, None] + p[None, :]) / 2
    given = {"degree": degree, "iterations": steps, "lower": lower, "finish": finish}
    s = solve("lyapunov_minimax", y, z, function, g, **given)
    assert error(v.T @ s @ v, factor * (v.T @ exact_gradient(a, g, function) @ v)) < 1e-12


@pytest.mark.parametrize(
    ("condition", "steps", "limit"), [(1e2, 5, 3e-6), (1e4, 6, 3e-5), (1e6, 8, 3e-3)]
)
def test_single_precision_gradients_of_the_minimax_methods(condition, steps, limit):
    # `lower` is told, a third below √(1/κ), for c is no more than a third above the largest.
    lower = 0.7 * condition**-0.5
    a = with_spectrum(np.geomspace(1, 1 / condition, 64)).astype(np.float32)
    g = cotangent(a.shape).astype(np.float32)
    given = {
        "iterations": steps,
        "lower": lower,
        "backward_iterations": steps,
        "backward_lower": lower,
    }
    pair = made("sqrt", "minimax", "lyapunov_minimax", **given)
    _, s = root_and_gradient(pair, torch.tensor(a), torch.tensor(g))
    exact = exact_gradient(a.astype(float), g.astype(float), "sqrt")
    assert error(s, exact) < limit
    # Rounding in the forward costs most of that: with the rounded exact root it is far less.
    y = exact_root(a.astype(float), "sqrt").astype(np.float32)
    s = solve("lyapunov_minimax", y, None, "sqrt", g, iterations=steps, lower=lower)
    assert error(s, exact) < limit / 4


@functions
@solvers
def test_equal_eigenvalues_have_right_gradients(function, backward, given):
    for a in (3 * np.eye(6), with_spectrum([2.0, 2.0, 1.0, 1.0, 1.0, 0.5], batch=1)[0]):
        g = cotangent(a.shape)
        s = solve(backward, exact_root(a, "sqrt"), exact_root(a, "isqrt"), function, g, **given)
        assert error(s, exact_gradient(a, g, function)) < 1e-13


@functions
@solvers
@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 2e-12), (np.float32, 1e-3)])
def test_a_ridge_on_a_rank_deficient_matrix_suffices(function, backward, given, dtype, limit):
    n = 12 if backward == "kronecker" else 64
    x = np.random.default_rng(0).standard_normal((3, n, n // 2))
    a = symmetric(x @ x.swapaxes(-1, -2) / (n // 2) + 1e-3 * np.eye(n)).astype(dtype)
    g = cotangent(a.shape).astype(dtype)
    given = {f"backward_{name}": value for name, value in given.items()}
    pair = made(function, "eigh", backward, **given)
    _, s = root_and_gradient(pair, torch.tensor(a), torch.tensor(g))
    assert error(s, exact_gradient(a.astype(float), g.astype(float), function)) < limit


@solvers
@functions
def test_a_solver_gives_the_same_for_a_batch_as_for_its_element(function, backward, given):
    a = with_spectrum(spectrum("condition_100", 5), batch=8) * np.logspace(-9, 9, 8)[:, None, None]
    g = cotangent(a.shape)
    call = partial(solve, backward, function=function, **given)
    y, z = exact_root(a, "sqrt"), exact_root(a, "isqrt")
    whole = call(y=y, z=z, g=g)
    for i in range(8):
        assert error(call(y=y[i], z=z[i], g=g[i]), whole[i]) < 1e-13
