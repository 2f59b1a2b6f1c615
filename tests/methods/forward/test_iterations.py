"""Iterations: their schedules, what they compute to the digit, what they cost, where they break."""

from contextlib import nullcontext
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.matrices import ON_CPU, TORCH64, Cost

import mssbench
from mssbench import arrays
from mssbench.errors import InputError, Unsupported
from mssbench.methods import coupled, cuda_graph, minimax, pair, registry
from mssbench.methods.forward import prism, qdwh, scaled_cans
from mssbench.methods.forward.newton_schulz_graph import newton_schulz_graph
from mssbench.methods.minimax import evaluate, schedule, taylor
from mssbench.methods.norms import NORMS, products, upper_bound
from mssbench.testing.matrices import (
    UNIT,
    cotangent,
    error,
    exact_root,
    rotation,
    spectrum,
    symmetric,
    with_spectrum,
)

GOLDEN = np.array([4, 1, 1 / 4, 1 / 100])


def root_of(a, forward, function="sqrt", **parameters):
    """The plain root of numpy or torch matrices."""
    return pair.pair(function, forward, None, tuple(sorted(parameters.items())))(a)


def composed(factors, x):
    """P(x), step by step."""
    for factor in factors:
        x = evaluate(factor, x)
    return x


# --------------------------------------------------------------------------- minimax polynomials

# name: what to make; then products, max |1 - P| on [lower, 1], max x |1 - P| on [0, 1], P'(0).
SCHEDULES = {
    "MM9-3": ((0.02, 9, 3), 12, 3.7e-5, 2.2e-3, 121),
    "MM5-4": ((0.03, 5, 4), 13, 3.0e-5, 3.3e-3, 82),
    "MM5-5": ((0.01, 5, 5), 17, 1.2e-6, 9.4e-4, 287),
    "MM9-4": ((0.004, 9, 4), 17, 6.6e-7, 3.7e-4, 728),
    "MM5-6": ((0.003, 5, 6), 21, 7.5e-8, 2.5e-4, 1064),
    "MM5-7": ((0.001, 5, 7), 25, 4.8e-10, 7.3e-5, 3715),
    "MM3-8": ((0.004, 3, 8), 21, 2.0e-4, 4.8e-4, 557),
    "MM9-2+NS5": ((0.06, 9, 2, (5,)), 11, 1.3e-6, 5.4e-3, 50),
    "MM5-3+NS5": ((0.06, 5, 3, (5,)), 13, 6.5e-8, 4.8e-3, 56),
    "MM9-2+NS5+NS5": ((0.04, 9, 2, (5, 5)), 15, 1.6e-12, 2.3e-3, 118),
    "MM5-4+NS3": ((0.03, 5, 4, (3,)), 16, 1.3e-9, 2.2e-3, 124),
}
COEFFICIENTS = {
    "MM9-3": (
        (12.80570834, -118.3448038, 387.0181383, -493.2837858, 213.5495743),
        (3.795222884, -7.55231024, 6.921911412, -2.668288568, 0.3607709646),
        (2.491375012, -3.375257778, 3.051520967, -1.443415953, 0.2757685104),
    ),
    "MM5-4": (
        (7.362527781, -20.74339576, 15.16055185),
        (2.917538179, -2.182405692, 0.4755293019),
        (2.046310255, -1.429475251, 0.3933525092),
        (1.876379716, -1.251532162, 0.3751532465),
    ),
    "MM5-5": (
        (8.09337015, -23.62044233, 17.4461621),
        (3.636596228, -2.721937891, 0.5365486522),
        (2.661311852, -1.97716416, 0.4526174286),
        (1.956174855, -1.337511114, 0.3838530442),
        (1.875165581, -1.250183966, 0.3750183968),
    ),
    "MM9-2+NS5": (
        (9.742543583, -78.75595102, 246.4622631, -307.3453868, 131.3287991),
        (2.75413134, -4.208448247, 3.895756106, -1.741827412, 0.295066346),
    ),
    "MM5-3+NS5": (
        (6.484369219, -17.30367815, 12.4339747),
        (2.413681166, -1.768600102, 0.4296405616),
        (1.90525572, -1.283221822, 0.3783373864),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_the_known_cost_error_and_slope(name):
    made, count, relative, absolute, slope = SCHEDULES[name]
    s = schedule(*made)
    x = np.geomspace(made[0], 1, 100001)
    everywhere = np.concatenate([[0], np.geomspace(1e-6, 1, 200001)])
    found = abs(1 - composed(s.factors, x)).max()
    assert coupled.products(s.factors, "trace") == count
    assert found == pytest.approx(relative, rel=0.05)
    assert s.error == pytest.approx(found, rel=1e-3)
    worst = (everywhere * abs(1 - composed(s.factors, everywhere))).max()
    assert worst == pytest.approx(absolute, rel=0.05)
    assert s.slope == pytest.approx(slope, rel=0.01)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_a_schedule_has_the_known_coefficients(name):
    for found, known in zip(
        schedule(*SCHEDULES[name][0]).factors, COEFFICIENTS[name], strict=False
    ):
        assert found == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize("degree", [3, 5, 7, 9])
@pytest.mark.parametrize("ends", [(1e-3, 1.0), (0.06, 1.0), (0.5, 1.5), (0.9, 1.1)], ids=str)
def test_the_best_polynomial_errs_equally_with_alternating_signs(degree, ends):
    # One point more than it has coefficients: de la Vallée-Poussin then says that none is closer.
    factor, level = minimax.best(*ends, degree)
    x = sum(ends) / 2 - (ends[1] - ends[0]) / 2 * np.cos(np.linspace(0, np.pi, 100001))
    rest = 1 - evaluate(factor, x)
    turns = np.flatnonzero(np.diff(np.sign(rest))) + 1
    peaks = [abs(lobe).max() for lobe in np.split(rest, turns)]
    assert len(peaks) == (degree + 1) // 2 + 1
    assert peaks == pytest.approx([level] * len(peaks), rel=1e-6)


@pytest.mark.parametrize("ends", [(1e-3, 1.0), (0.06, 1.0), (0.5, 1.5)], ids=str)
def test_the_best_cubic_has_its_closed_form(ends):
    l, u = ends
    a = np.sqrt(3 / (u * u + l * u + l * l))
    b = 4 / (2 + l * u * (l + u) * a**3)
    factor, _ = minimax.best(l, u, 3)
    assert factor == pytest.approx((1.5 * a * b, -0.5 * a**3 * b), rel=1e-12)


@pytest.mark.parametrize("degree", [3, 5, 9])
def test_a_narrow_interval_gets_the_taylor_polynomial_about_its_centre(degree):
    factor, level = minimax.best(1 - 1e-7, 1 + 1e-7, degree)
    assert factor == pytest.approx(taylor(degree), rel=1e-12)
    assert level < 1e-13


def test_taylor_factors_are_those_of_the_literature():
    assert taylor(3) == (1.5, -0.5)
    assert taylor(5) == (1.875, -1.25, 0.375)
    assert taylor(9) == (2.4609375, -3.28125, 2.953125, -1.40625, 0.2734375)


# ---------------------------------------------------------------------------------- planning


def test_a_schedule_that_is_cut_short_is_refused():
    with pytest.raises(InputError, match=r"^3 steps of degree 5 end 0\.\d+ away from the root on "):
        mssbench.sqrtm(np.eye(3), forward="minimax", iterations=3, lower=1e-4, finish=0)
    with pytest.raises(InputError, match=r"^2 steps end 0\.\d+ away .* or 0 to have it planned\.$"):
        mssbench.sqrtm(np.eye(3), forward="qdwh", iterations=2, lower=1e-4)
    # for it is worse than Newton–Schulz, everywhere
    cut = schedule(1e-4, 5, 12).factors[:5]
    x = np.geomspace(0.2, 1, 1001)
    assert abs(1 - composed(cut, x)).max() > 0.4
    assert abs(1 - composed([taylor(3)] * 5, x)).max() < 0.1


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("degree", "steps", "finish"), [(5, 4, 1), (5, 7, 1), (9, 3, 1), (3, 8, 0)]
)
@pytest.mark.parametrize("wanted", [1e-12, 1e-6])
def test_a_planned_schedule_serves_the_widest_interval_that_meets_the_error(
    degree, steps, finish, wanted
):
    made = minimax.plan(degree, steps, 0.0, finish, error=wanted, floor=0.0)
    assert made.error <= wanted
    tail = (min(degree, 5),) * finish
    lower = minimax.widest(degree, steps, tail, wanted)
    assert minimax.schedule(lower, degree, steps, tail) == made
    assert minimax.schedule(lower / 1.2, degree, steps, tail).error > wanted
    floored = minimax.plan(degree, steps, 0.0, finish, error=wanted, floor=2 * lower)
    assert floored == minimax.schedule(2 * lower, degree, steps, tail)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("forward", ["minimax", "qdwh"])
def test_a_planned_schedule_is_as_exact_as_the_precision(forward, precision):
    a = torch.tensor(with_spectrum(spectrum("condition_100", 16)), dtype=getattr(torch, precision))
    y = root_of(a, forward, norm="wolkowicz_styan")
    assert error(y, exact_root(a.double().numpy(), "sqrt")) < 20 * UNIT[precision]


@pytest.mark.parametrize(
    ("forward", "precision"),
    [
        ("minimax", "float64"),
        ("minimax", "float32"),
        ("minimax", "bfloat16"),
        ("qdwh", "float64"),
        ("qdwh", "float32"),
    ],
)
def test_a_planned_schedule_does_not_diverge_on_a_singular_matrix(forward, precision):
    w = np.concatenate([np.linspace(1, 0.3, 16), np.zeros(16)])
    exact = with_spectrum(np.sqrt(w))
    a = torch.tensor(with_spectrum(w), dtype=getattr(torch, precision))
    assert error(root_of(a, forward), exact) < 4 * UNIT[precision] ** 0.5


# ------------------------------------------------------- one fixed schedule for seven spectra


def covariance(x):
    return x @ x.T / x.shape[1]


@pytest.fixture(scope="module")
def spectra():
    normal = np.random.default_rng(0).standard_normal
    return {
        "wishart_64_128": covariance(normal((64, 128))),
        "wishart_256_512": covariance(normal((256, 512))),
        "near_identity": with_spectrum(np.linspace(1.05, 0.95, 256), 1)[0],
        "power_law": with_spectrum(np.arange(1.0, 257) ** -2, 1)[0],
        "rank_deficient": covariance(normal((64, 32))),
        "geometric": with_spectrum(np.geomspace(1, 1e-6, 256), 1)[0],
        "relu": covariance(normal((256, 1024)).clip(0)),
    }


FIXED = [
    (
        "newton_schulz",
        {"iterations": 5, "norm": "frobenius"},
        12,
        (4e-2, 8e-2, 2e-2, 2e-1, 2e-2, 1e-1, 3e-1),
    ),
    (
        "minimax",
        {"degree": 9, "iterations": 3, "lower": 0.02, "finish": 0},
        12,
        (3e-5, 3e-5, 3e-5, 2e-2, 3e-5, 6e-3, 3e-5),
    ),
    ("minimax_hybrid", {}, 11, (7e-7, 7e-7, 7e-7, 5e-2, 7e-7, 1e-2, 7e-5)),
]


@pytest.mark.parametrize(("forward", "parameters", "cost", "expected"), FIXED, ids=lambda x: str(x))
def test_one_fixed_schedule_serves_many_spectra(forward, parameters, cost, expected, spectra):
    method = registry.lookup("forward", forward)
    assert method.products(**method.complete(parameters)) == cost
    for (kind, a), known in zip(spectra.items(), expected, strict=True):
        w, v = np.linalg.eigh(a)
        exact = (v * np.sqrt(w.clip(0))) @ v.T
        found = error(root_of(a, forward, **parameters), exact)
        assert known / 3 < found < 3 * known, (kind, found)


def test_eleven_products_of_the_hybrid_beat_twelve_of_newton_schulz_ten_thousandfold(spectra):
    for kind in ("wishart_64_128", "wishart_256_512", "near_identity", "rank_deficient"):
        w, v = np.linalg.eigh(spectra[kind])
        exact = (v * np.sqrt(w.clip(0))) @ v.T
        hybrid = error(root_of(spectra[kind], "minimax_hybrid"), exact)
        assert hybrid <= 2e-6, kind
        assert 1e-2 < error(root_of(spectra[kind], "newton_schulz"), exact) < 1e-1, kind


@pytest.mark.parametrize(
    ("name", "bound"),
    [("9-9-ns5", 2e-6), ("5-5-5-ns5", 1e-7), ("9-9-ns5-ns5", 2e-12), ("5-5-5-5-ns3", 2e-9)],
)
def test_every_hybrid_reaches_what_its_schedule_promises(name, bound, spectra):
    exact = exact_root(spectra["wishart_64_128"], "sqrt")
    assert error(root_of(spectra["wishart_64_128"], "minimax_hybrid", schedule=name), exact) < bound


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"degree": 5, "iterations": 4, "lower": 0.03, "finish": 0}, (2.90e-5, 2.26e-5, 2.22e-5)),
        ({"degree": 9, "iterations": 3, "lower": 0.02, "finish": 0}, (3.50e-5, 3.38e-5, 1.93e-5)),
    ],
    ids=["MM5-4", "MM9-3"],
)
def test_golden_errors_of_minimax(parameters, expected):
    v = rotation(4, seed=3)
    a = symmetric((v * GOLDEN) @ v.T)
    exact = exact_root(a, "sqrt")
    for norm, known in zip(("trace", "frobenius", "wolkowicz_styan"), expected, strict=True):
        assert error(root_of(a, "minimax", norm=norm, **parameters), exact) == pytest.approx(
            known, rel=5e-3
        )


def test_scaled_cans_is_within_its_bounds():
    x = np.geomspace(1e-3, 1, 400001)
    assert abs(1 - composed(scaled_cans._FACTORS, x)).max() <= 3.1e-5
    x = np.concatenate([[0], np.geomspace(1e-7, 1, 400001)])
    worst = (x * abs(1 - composed(scaled_cans._FACTORS, x))).max()
    assert worst == pytest.approx(8.8e-5, rel=0.01)
    w = np.geomspace(1, 1.1e-6, 32)
    a = with_spectrum(w)  # √(w/c) from 1 to 0.001, but for the norm
    assert error(root_of(a, "scaled_cans", norm="power"), exact_root(a, "sqrt")) < 3.1e-5
    assert registry.lookup("forward", "scaled_cans").products(norm="trace") == 27


# --------------------------------------------------------------------------------- scalar laws


def inverse_map(forward, parameters):
    """w / c, all eigenvalues of a matrix -> those of the inverse root times √c."""
    k = parameters["iterations"]

    def polynomial(factor, m):
        return sum(c * m**i for i, c in enumerate(factor))

    def coupled_map(u, h):
        y, z = u, np.ones_like(u)
        for step in range(k):
            t = h(step, z * y)
            y, z = y * t, t * z
        return z

    if forward in ("newton_inverse", "newton_schulz_baddbmm", "newton_schulz"):
        return lambda u: coupled_map(u, lambda _, w: polynomial(taylor(3), w))
    if forward == "inverse_newton":
        return lambda u: 1.5**0.5 * coupled_map(1.5 * u, lambda _, w: polynomial(taylor(3), w))
    if forward == "inverse_newton_ho":
        factor = taylor(2 * parameters["order"] - 1)
        return lambda u: coupled_map(u, lambda _, w: polynomial(factor, w))
    if forward == "qdwh":
        made, _ = qdwh.weights(parameters["lower"], k)
        return lambda u: coupled_map(
            u, lambda i, w: (made[i][0] + made[i][1] * w) / (1 + made[i][2] * w)
        )
    assert forward == "prism"
    return lambda u: coupled_map(u, lambda _, w: _prism_factor(w, parameters["order"]))


def _prism_factor(w, order):
    """T of PRISM, α the best of all critical points of the quartic, and of the ends."""
    r = 1 - w
    first = np.polynomial.Polynomial
    t0, t1 = (1 + 0 * r, r) if order == 1 else (1 + r / 2, r * r)
    quartic = sum(
        (first([1.0]) - (1 - ri) * first([a, b]) ** 2) ** 2
        for ri, a, b in zip(r, t0, t1, strict=True)
    )
    low, high = (0.5, 1.0) if order == 1 else (3 / 8, 29 / 20)
    critical = quartic.deriv().roots()
    real = critical[abs(critical.imag) < 1e-9].real
    candidates = np.array([low, high, *real[(real > low) & (real < high)]])
    return t0 + candidates[np.argmin(quartic(candidates))] * t1


LAWS = [
    ("newton_inverse", {}),
    ("inverse_newton", {}),
    ("inverse_newton_ho", {"order": 2}),
    ("inverse_newton_ho", {"order": 3}),
    ("inverse_newton_ho", {"order": 4}),
    ("inverse_newton_ho", {"order": 5}),
    ("newton_schulz_baddbmm", {}),
    ("qdwh", {"lower": 0.3}),
    ("prism", {"order": 1, "sketch_size": 0}),
    ("prism", {"order": 2, "sketch_size": 0}),
]
laws = pytest.mark.parametrize(
    ("forward", "given"),
    LAWS,
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)


@laws
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_root_is_its_scalar_map_of_the_eigenvalues(forward, given, count):
    parameters = {**given, "iterations": count}
    if forward == "qdwh" and count < 3:
        parameters["lower"] = 0.9
    v = rotation(4)
    a = symmetric((v * GOLDEN) @ v.T)
    c = upper_bound(a, "frobenius").item()
    z = inverse_map(forward, parameters)(GOLDEN / c) / np.sqrt(c)
    method = registry.lookup("forward", forward)
    parameters["norm"] = "frobenius"
    x = a if "numpy" in method.libraries else torch.tensor(a)
    assert error(root_of(x, forward, "isqrt", **parameters), (v * z) @ v.T) < 1e-11
    if "sqrt" in method.functions:
        assert error(root_of(x, forward, **parameters), (v * (GOLDEN * z)) @ v.T) < 1e-11


@laws
def test_null_directions_of_a_root_stay_null_and_grow_by_the_slope_in_the_inverse(forward, given):
    parameters = {**given, "iterations": 4}
    a = np.diag([1.0, 0.5, 0.0])
    x = a if "numpy" in registry.lookup("forward", forward).libraries else torch.tensor(a)
    c = upper_bound(a, "frobenius").item()
    z = root_of(x, forward, "isqrt", norm="frobenius", **parameters)[2, 2]
    grown = inverse_map(forward, parameters)(np.array([1, 0.5, 0]) / c)[2]
    assert float(z) == pytest.approx(grown / np.sqrt(c), rel=1e-11)
    slopes = {
        "newton_inverse": 1.5**4,
        "newton_schulz_baddbmm": 1.5**4,
        "inverse_newton": 1.5**4.5,
        "inverse_newton_ho": (comb(2 * (n := given.get("order", 1)), n) * n / 2 ** (2 * n - 1))
        ** 4,
    }
    assert grown == pytest.approx(slopes.get(forward, grown), rel=1e-12)
    if forward in ("newton_schulz_baddbmm", "qdwh", "prism"):
        assert root_of(x, forward, norm="frobenius", **parameters)[2, 2] == 0


def test_a_minimax_inverse_root_grows_by_its_slope_in_null_directions():
    a = np.diag([1.0, 0.5, 0.0])
    c = upper_bound(a, "min_ws_minc").item()
    given = {"degree": 5, "iterations": 4, "lower": 0.03, "finish": 0}
    z = root_of(a, "minimax", "isqrt", **given)[2, 2]
    assert z == pytest.approx(schedule(0.03, 5, 4).slope / np.sqrt(c), rel=1e-12)
    assert root_of(a, "minimax", **given)[2, 2] == 0


def test_the_product_form_of_denman_beavers_is_its_scalar_map():
    v = rotation(4)
    a = symmetric((v * GOLDEN) @ v.T)
    m, y, z = GOLDEN, GOLDEN, np.ones(4)
    for k in range(1, 8):
        mu2 = np.prod(m) ** (-1 / 4) if np.linalg.norm(m - 1) >= 1e-2 else 1.0
        t = mu2**0.5 / 2 * (1 + 1 / (m * mu2))
        y, z, m = y * t, z * t, (1 + (mu2 * m + 1 / (mu2 * m)) / 2) / 2
        for x in (a, torch.tensor(a)):
            assert error(root_of(x, "denman_beavers_product", iterations=k), (v * y) @ v.T) < 1e-12
            inverse = root_of(x, "denman_beavers_product", "isqrt", iterations=k)
            assert error(inverse, (v * z) @ v.T) < 1e-12


# ------------------------------------------------------------------------------------ rational


@pytest.mark.parametrize(
    ("condition", "steps", "limit"), [(1e2, 5, 1e-13), (1e6, 7, 3e-13), (1e12, 8, 5e-9)]
)
def test_scaled_denman_beavers_takes_few_steps_and_the_plain_one_many(condition, steps, limit):
    a = with_spectrum(np.geomspace(1, 1 / condition, 32), 2)
    exact = exact_root(a, "sqrt")

    def wrong(forward, k):
        return error(root_of(a, forward, iterations=k), exact)

    assert wrong("denman_beavers_product", steps) < limit
    assert wrong("denman_beavers_product", steps - 2) > 10 * limit
    plain = {1e2: 8, 1e6: 14, 1e12: 24}[condition]  # halves log √w in a step
    assert wrong("denman_beavers", plain - 3) > 10 * limit


@pytest.mark.parametrize("forward", ["qdwh", "denman_beavers_product"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_rational_method_is_as_good_as_polynomials_on_an_ill_conditioned_matrix(
    forward, precision
):
    # With one triangle of W mirrored, as a Cholesky factorisation reads it, QDWH has 6e-4 here.
    a = torch.tensor(with_spectrum(np.geomspace(1, 1e-6, 64), 2), dtype=getattr(torch, precision))
    found = error(root_of(a, forward), exact_root(a.double().numpy(), "sqrt"))
    assert found < {"float64": 2e-13, "float32": 1e-4}[precision]


@pytest.mark.parametrize("condition", [1e4, 1e6, 1e8, 1e12])
def test_qdwh_takes_four_steps_where_the_condition_is_known(condition):
    a = with_spectrum(np.geomspace(1, 1 / condition, 32), 2)
    exact = exact_root(a, "sqrt")
    given = {"lower": 0.9 * condition**-0.5, "norm": "power"}
    least = error(root_of(a, "qdwh", iterations=8, **given), exact)
    assert error(root_of(a, "qdwh", iterations=4, **given), exact) < 2 * least + 1e-13
    assert error(root_of(a, "qdwh", iterations=3, **given), exact) > 100 * least


def test_weights_of_qdwh_end_at_those_of_halley_and_lift_the_lower_end_to_the_step_before():
    made, end = qdwh.weights(1e-6, 6)
    assert end == 1.0
    assert made[-1] == (3.0, 1.0, 3.0)
    x = np.geomspace(1e-6, 1, 100001)
    low = 1e-6
    for a, b, c in made:
        x = x * (a + b * x * x) / (1 + c * x * x)
        assert x.max() <= 1 + 1e-12
        assert x.min() == pytest.approx(x[0], rel=1e-9)
        assert x[0] > low
        low = x[0] * (1 - 1e-15)


def test_the_widest_interval_of_qdwh():
    least = [qdwh.widest(k, 2.0**-53, np.inf) for k in (3, 4, 5)]
    assert least == pytest.approx([0.12, 1.1e-4, 1.3e-13], rel=0.1)
    for slope in (1e3, 1e6):
        lower = qdwh.widest(6, 2.0**-53, slope)
        for factor, within in ((1, True), (0.85, False)):
            made, _ = qdwh.weights(lower * factor, 6)
            assert (np.prod([a for a, _, _ in made]) <= slope) == within


def test_an_inverse_and_its_log_determinant_agree_with_numpy():
    x = with_spectrum(np.geomspace(3, 1e-3, 5))
    for a in (x, torch.tensor(x), torch.tensor(x[0])):
        inverse, log = arrays.inverse_and_log_determinant(a)
        given = arrays.to_numpy(a)
        assert error(inverse, np.linalg.inv(given)) < 1e-11
        expected = np.linalg.slogdet(given)[1][..., None, None]
        assert arrays.to_numpy(log) == pytest.approx(expected, rel=1e-12)
        assert log.shape == (*a.shape[:-2], 1, 1)


# -------------------------------------------------------------------------------------- inverse


def test_the_uncoupled_iteration_is_unstable_beyond_its_condition():
    def errors(condition, n=32):
        a = with_spectrum(np.geomspace(1, 1 / condition, n), 1)
        exact = exact_root(a, "isqrt")
        with np.errstate(all="ignore"):
            return np.array([error(inverse(a, k), exact) for k in range(1, 41)])

    def inverse(a, k):
        return root_of(a, "newton_inverse", "isqrt", iterations=k)

    assert errors(2.3)[-1] < 1e-14
    assert 1e-9 < np.nanmin(errors(1e2)) < 1e-6
    assert 1e-3 < np.nanmin(errors(1e3)) < 0.1
    assert not np.isfinite(errors(1e3)[-1])
    growing = errors(10.0)
    rho = 10**0.5
    assert growing[24] / growing[23] == pytest.approx((rho + rho * rho) / 2 - 1, rel=0.05)


@pytest.mark.parametrize(("forward", "steps"), [("inverse_newton", 16), ("inverse_newton_ho", 12)])
def test_the_coupled_inverse_iterations_are_stable(forward, steps):
    a = with_spectrum(np.geomspace(1, 1e-4, 32), 2)
    exact = exact_root(a, "isqrt")
    best = error(root_of(a, forward, "isqrt", iterations=steps), exact)
    assert best < 5e-12
    assert error(root_of(a, forward, "isqrt", iterations=60), exact) < 3 * best


def test_inverse_newton_starts_nearer_than_newton_schulz_and_order_two_is_newton_schulz():
    a = with_spectrum(spectrum("condition_100", 6))
    exact = exact_root(a, "isqrt")
    plain = root_of(a, "newton_schulz", "isqrt", iterations=6)
    assert (
        error(root_of(a, "inverse_newton", "isqrt", iterations=6), exact)
        < error(plain, exact) / 1.5
    )
    given = {"iterations": 6, "order": 2, "norm": "frobenius"}
    assert error(root_of(a, "inverse_newton_ho", "isqrt", **given), plain) < 1e-13


def test_a_higher_order_takes_fewer_steps():
    a = with_spectrum(np.geomspace(1, 1e-3, 16))
    exact = exact_root(a, "isqrt")

    def steps(order):
        return next(
            k
            for k in range(1, 40)
            if error(root_of(a, "inverse_newton_ho", "isqrt", iterations=k, order=order), exact)
            < 1e-8
        )

    assert [steps(order) for order in (2, 3, 4, 5)] == sorted(
        (steps(o) for o in (2, 3, 4, 5)), reverse=True
    )
    assert steps(2) - steps(5) >= 5


# ---------------------------------------------------------------------------------------- PRISM


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("sketch_size", [0, 3, 8])
def test_the_fit_of_prism_is_the_least_residual_of_its_interval(order, sketch_size):
    low, high = (0.5, 1.0) if order == 1 else (3 / 8, 29 / 20)
    grid = np.linspace(low, high, 64)
    alphas = []
    for w in (GOLDEN / 5, np.geomspace(1, 1e-6, 4), np.full(4, 0.9), np.zeros(4), np.full(4, 1.0)):
        r = np.eye(4) - with_spectrum(w, 1)
        omega = prism._gaussian(sketch_size, 4) if sketch_size else np.eye(4)
        q = prism.residual_norm([omega @ r], r, order)
        alpha = prism.fit(q, grid)
        assert alpha.shape == (1, 1, 1)
        assert low <= alpha.item() <= high

        def left(x, r=r, omega=omega):
            t = np.eye(4) + x * r if order == 1 else np.eye(4) + r / 2 + x * r @ r
            return np.linalg.norm(omega @ (np.eye(4) - (np.eye(4) - r) @ t @ t)) ** 2

        assert sum(c.item() * alpha.item() ** i for i, c in enumerate(q)) == pytest.approx(
            left(alpha.item()), rel=1e-9, abs=1e-12
        )
        best = min(left(x) for x in np.linspace(low, high, 2001))
        assert left(alpha.item()) <= best * (1 + 1e-9) + 1e-14
        alphas.append(alpha.item())
    assert max(alphas[:2]) > low + 0.1  # it is used
    assert alphas[-1] == pytest.approx(low, abs=1e-12)  # Taylor's where nothing is left


def test_prism_with_a_sketch_is_nearly_as_good_and_the_same_every_time():
    a = with_spectrum(np.geomspace(1, 1e-2, 64), 2)
    exact = exact_root(a, "sqrt")
    fitted, plain, higher = (
        error(root_of(a, *call[:1], iterations=4, **call[1]), exact)
        for call in (
            ("prism", {"sketch_size": 0}),
            ("newton_schulz", {}),
            ("prism", {}),
        )
    )
    assert higher < 1.5 * fitted < plain / 100
    assert (root_of(a, "prism") == root_of(a, "prism")).all()


def test_prism_differentiates_the_limit_right_though_not_its_coefficient():
    a = torch.tensor(with_spectrum(spectrum("condition_100", 4)), requires_grad=True)
    g = torch.tensor(cotangent(a.shape))
    found, exact = (
        torch.autograd.grad(mssbench.sqrtm(a, forward=f, backward=b, **p), a, g)[0]
        for f, b, p in (("prism", "autodiff", {"iterations": 10}), ("eigh", "loewner", {}))
    )
    assert error(found, exact.numpy()) < 1e-12


# ----------------------------------------------------------------------------- speed and halves


def test_baddbmm_is_newton_schulz_in_fewer_operations():
    a = TORCH64.put(with_spectrum(spectrum("condition_100", 8), 6).reshape(2, 3, 8, 8))
    for function in ("sqrt", "isqrt"):
        for k in (0, 1, 2, 7):
            plain = root_of(a, "newton_schulz", function, iterations=k)
            fused = root_of(a, "newton_schulz_baddbmm", function, iterations=k)
            assert error(fused, plain.numpy()) < 1e-13
            single = root_of(a[0, 0], "newton_schulz_baddbmm", function, iterations=k)
            assert error(single, plain[0, 0].numpy()) < 1e-13

    def operations(forward):
        with torch.profiler.profile() as profile:
            root_of(a, forward, iterations=9)
        return sum(e.count for e in profile.key_averages() if e.key in ("aten::add", "aten::mul"))

    assert operations("newton_schulz_baddbmm") < operations("newton_schulz") - 2 * 7


class Pretended(torch.Tensor):
    """A CPU tensor that says it is on a device."""

    __module__ = "torch"  # where its operations are looked for
    is_cuda = property(lambda self: True)


class Device:
    """As much of torch.cuda as the bookkeeping of graphs calls."""

    capturing = False

    def device(self, device):
        return nullcontext()

    def is_current_stream_capturing(self):
        return self.capturing

    def current_stream(self):
        return SimpleNamespace(record_event=object, wait_event=lambda event: None)


def test_graphs_are_kept_by_what_they_compute_and_their_roots_are_copied(monkeypatch):
    captured, rule, cuda = [], ["highest"], Device()

    def capture(compute, a):
        given = torch.full(a.shape, torch.nan, dtype=a.dtype)
        root = compute(given)
        captured.append((tuple(a.shape), rule[0]))

        def replay():
            root.sqrt.copy_(compute(given).sqrt)

        return SimpleNamespace(replay=replay), given, root

    torch_like = SimpleNamespace(cuda=cuda, get_float32_matmul_precision=lambda: rule[0])
    monkeypatch.setattr(cuda_graph, "namespace", lambda a: torch_like)
    monkeypatch.setattr(cuda_graph, "_capture", capture)
    monkeypatch.setattr(cuda_graph, "_graphs", {})
    monkeypatch.setattr(cuda_graph, "_replayed", {})

    def root(n, seed=0, **given):
        a = torch.tensor(with_spectrum(spectrum("near_one", n), 2, seed))
        given = {"iterations": 6, "norm": "frobenius", **given}
        wanted = frozenset(["sqrt"])
        y = newton_schulz_graph(a.as_subclass(Pretended), wanted, **given).sqrt
        plain = root_of(a, "newton_schulz", **given)
        assert torch.equal(y, plain)
        return y, plain

    y, plain = root(4)
    root(4, seed=5)
    assert torch.equal(y, plain)  # a copy: the replay after it did not touch it
    root(4, iterations=3)
    rule[0] = "high"
    root(4)
    assert captured == [((2, 4, 4), "highest")] * 2 + [((2, 4, 4), "high")]
    for n in range(5, 5 + cuda_graph.KEPT + 2):
        root(n)
        root(4)  # used all the time, so it stays
    count = len(captured)
    assert captured.count(((2, 4, 4), "high")) == 1
    assert len(cuda_graph._graphs) == cuda_graph.KEPT
    cuda.capturing = True
    root(3)  # part of another capture: nothing is kept
    assert len(captured) == count


@pytest.mark.parametrize("forward", ["newton_schulz_graph", "minimax_graph"])
def test_a_graph_is_refused_on_a_cpu_and_for_autograd(forward):
    with pytest.raises(InputError, match=rf"^{forward} replays a CUDA graph: torch on c"):
        mssbench.sqrtm(torch.eye(3), forward=forward)
    with pytest.raises(Unsupported, match=rf"autodiff .* {forward}"):
        pair.pair("sqrt", forward, "autodiff")


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_pade_half_is_pade_where_solves_exist_and_solves_in_float32_where_not(function):
    x = with_spectrum(np.linspace(1.0, 0.7, 16))
    for dtype in (torch.float64, torch.float32):
        a = torch.tensor(x, dtype=dtype)
        assert torch.equal(root_of(a, "pade_half", function), root_of(a, "pade", function))
    assert (root_of(x, "pade_half", function) == root_of(x, "pade", function)).all()
    for dtype, unit in ((torch.bfloat16, UNIT["bfloat16"]), (torch.float16, UNIT["float16"])):
        a = torch.tensor(x, dtype=dtype)
        y = root_of(a, "pade_half", function, degree=4, norm="wolkowicz_styan")
        exact = root_of(a.double(), "pade", function, degree=4, norm="wolkowicz_styan")
        assert y.dtype == dtype
        assert error(y, exact.numpy()) < 3 * unit


# ------------------------------------------------------------------------------- stability, cost


@pytest.mark.parametrize(
    ("forward", "function"),
    [
        (m.name, function)
        for m in ON_CPU
        if "iterations" in m.parameters
        and not m.inexact
        # unstable; and with more steps for a wider interval, for which it rounds more
        and m.name not in ("newton_inverse", "minimax")
        for function in m.functions
    ],
)
def test_many_more_steps_than_needed_do_not_spoil_a_root(forward, function):
    a = TORCH64.put(with_spectrum(np.geomspace(1, 1e-3, 16), batch=4))
    exact = exact_root(a.numpy(), function)
    errors = [
        error(root_of(a, forward, function, iterations=k), exact)
        for k in (8, 10, 12, 16, 20, 25, 30, 40)
    ]
    assert errors[-1] < 10 * min(errors)
    assert errors[-1] < 1e-11


def test_symmetrising_every_factor_of_the_coupled_iteration_is_what_would_spoil_it():
    # W and Y, Z together: rounding grows by |1 - (1 + q) / 2| a step, q = (ρ + 1/ρ) / 2, ρ = √κ.
    def worst(condition, steps=40):
        a = with_spectrum(np.geomspace(1, 1 / condition, 32))
        c = upper_bound(a, "frobenius")
        y, z = a / c, np.eye(32)
        for _ in range(steps):
            t = 1.5 * np.eye(32) - 0.5 * symmetric(z @ y)
            y, z = symmetric(y @ t), symmetric(t @ z)
        return error(y * np.sqrt(c), exact_root(a, "sqrt"))

    assert worst(25) < 1e-13  # below (3 + 2 √2)² = 34
    with np.errstate(all="ignore"):
        assert not worst(1e3) < 1


@pytest.mark.parametrize("norm", [norm for norm in NORMS if products(norm)] + ["power"])
@pytest.mark.parametrize(
    "method", [m for m in ON_CPU if "norm" in m.parameters], ids=lambda m: m.name
)
def test_the_cost_of_a_norm_is_part_of_the_cost(method, norm):
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    parameters = method.complete({"norm": norm})
    for function in method.functions:
        with Cost() as cost:
            method.call(a, frozenset([function]), **parameters)
        assert cost.total == pytest.approx(method.products(**parameters))


@pytest.mark.parametrize(
    "parameters",
    [{"order": 1}, {"order": 2}, {"order": 1, "sketch_size": 0}, {"order": 2, "sketch_size": 0}],
    ids=str,
)
def test_an_exact_fit_of_prism_costs_the_powers_it_takes(parameters):
    method = registry.lookup("forward", "prism")
    parameters = method.complete({**parameters, "iterations": 5})
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    with Cost() as cost:
        method.call(a, frozenset(["sqrt"]), **parameters)
    assert cost.total == method.products(**parameters)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_the_cost_of_a_higher_order_is_counted(order):
    method = registry.lookup("forward", "inverse_newton_ho")
    parameters = method.complete({"order": order, "iterations": 5})
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    with Cost() as cost:
        method.call(a, frozenset(["isqrt"]), **parameters)
    assert cost.total == method.products(**parameters)


@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_dust_is_nothing_and_what_is_no_dust_keeps_every_bit(library, precision):
    """The limit is ε² / 2; a sum with ε would round all that is smaller than 1."""
    if precision not in arrays.PRECISIONS[library]:
        pytest.skip(f"{library} has no {precision}")
    like = arrays.empty(library, "cpu", precision)
    eps = arrays.epsilon(like)
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(np.log10(eps**2) + 0.5, 0.5, (2, 8, 8))
    kept = arrays.from_numpy(sizes * rng.choice([-1.0, 1.0], sizes.shape), like=like)
    assert (arrays.dusted(kept) == kept).all()
    odd = arrays.from_numpy(np.array([np.inf, -np.inf, np.nan, 1.0, eps**2]), like=like)
    assert str(arrays.dusted(odd)) == str(odd)
    dust = arrays.from_numpy(np.array([0.0, 0.49, -0.49, 1e-3]) * eps**2, like=like)
    assert (arrays.dusted(dust) == 0).all()
    assert arrays.dtype_name(arrays.dusted(dust)) == precision


def test_dust_is_as_far_from_constant_as_anything_else():
    """A recorded iteration of a diagonal matrix has zeros whose derivatives are none."""
    a = torch.tensor([[1.0, 0.0], [1e-40, float("inf")]], dtype=torch.float64, requires_grad=True)
    found = arrays.dusted(a)
    assert found.tolist() == [[1.0, 0.0], [0.0, float("inf")]]
    (slope,) = torch.autograd.grad(found.sum(), a)
    assert slope.tolist() == [[1.0, 1.0], [1.0, 1.0]]
