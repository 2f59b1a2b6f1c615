"""What each method computes after k steps, as the literature derives it: in float64, to the digit.

A method whose arithmetic is a polynomial or rational function of A acts on each eigenvalue alone,
so its root, its error and its gradient are known in closed form, converged or not.
"""

from math import comb, pi, sin

import numpy as np
import pytest
import torch
from helpers.matrices import TORCH64, Call, Cost
from torch.utils._python_dispatch import TorchDispatchMode

from mssbench import arrays
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.methods.forward.pade import coefficients
from mssbench.methods.method import Root
from mssbench.methods.norms import NORMS, normalized, upper_bound
from mssbench.testing.matrices import (
    cotangent,
    error,
    exact_gradient,
    exact_root,
    root_and_gradient,
    rotation,
    symmetric,
    with_spectrum,
)

GOLDEN = np.array([4, 1, 1 / 4, 1 / 100])
PAPER_NORMS = ("trace", "frobenius", "wolkowicz_styan")


def root_of(a, function="sqrt", forward="newton_schulz", **parameters):
    """The plain root of numpy matrices."""
    chosen = roots.pair(function, forward, None, tuple(sorted(parameters.items())))
    return chosen(a)


def gradient_of(a, g, function="sqrt", *names, **parameters):
    """The gradient of a pair, by default newton_schulz through autograd."""
    forward, backward = names or ("newton_schulz", "autodiff")
    chosen = roots.pair(function, forward, backward, tuple(sorted(parameters.items())))
    return root_and_gradient(chosen, TORCH64.put(a), TORCH64.put(g))[1].numpy()


def newton_schulz_factor(x, k):
    """(P(x), P(x) / x) for the k-fold composition of p(x) = x (3 - x²) / 2."""
    ratio = np.ones_like(x)
    for _ in range(k):
        step = (3 - x * x) / 2
        x, ratio = x * step, ratio * step
    return x, ratio


def scalar_map(forward, k):
    """x = √(w/c) -> the eigenvalue of the computed root over √c; a converged one would be x."""
    if forward == "newton_schulz":
        return lambda x: x * newton_schulz_factor(x, k)[0]
    if forward == "pade":
        return lambda x: x * (1 + _q(x, k)) / (1 - _q(x, k))
    t = np.cumprod([1.0, *((i - 1.5) / i for i in range(1, k + 1))])
    return lambda x: sum(t[i] * (1 - x * x) ** i for i in range(k + 1))


def _q(x, m):
    return ((1 - x) / (1 + x)) ** (2 * m + 1)


# ---------------------------------------------------------------------------------- scalar laws


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("forward", "step", "count"),
    [
        ("newton_schulz", "iterations", 1),
        ("newton_schulz", "iterations", 3),
        ("newton_schulz", "iterations", 8),
        ("pade", "degree", 1),
        ("pade", "degree", 5),
        ("taylor", "degree", 1),
        ("taylor", "degree", 10),
    ],
)
def test_a_root_is_its_scalar_map_of_the_eigenvalues(forward, step, count, norm):
    v = rotation(4)
    a = symmetric((v * GOLDEN) @ v.T)
    c = upper_bound(a, norm).item()
    x = np.sqrt(GOLDEN / c)
    exact = (v * (np.sqrt(c) * scalar_map(forward, count)(x))) @ v.T
    assert error(root_of(a, forward=forward, norm=norm, **{step: count}), exact) < 1e-12
    if forward != "taylor":
        inverse = exact_inverse_map(forward, count)(x) / np.sqrt(c)
        z = root_of(a, "isqrt", forward, norm=norm, **{step: count})
        assert error(z, (v * inverse) @ v.T) < 1e-11


def exact_inverse_map(forward, k):
    """√c times the eigenvalue of the inverse root."""
    if forward == "newton_schulz":
        return lambda x: newton_schulz_factor(x, k)[1]
    return lambda x: 1 / scalar_map(forward, k)(x)


@pytest.mark.parametrize("norm", PAPER_NORMS)
def test_null_directions_of_the_root(norm):
    a = np.diag([1.0, 0.5, 0.0])
    x, root_c = normalized(a, norm)
    c = root_c.item() ** 2
    assert x[2, 2] == 0
    assert root_of(a, norm=norm, iterations=9)[2, 2] == 0
    pade = root_of(a, forward="pade", norm=norm, degree=5)[2, 2]
    assert pade == pytest.approx(np.sqrt(c) / 11, rel=1e-12)
    taylor = root_of(a, forward="taylor", norm=norm, degree=10)[2, 2]
    assert taylor == pytest.approx(np.sqrt(c) * comb(20, 10) / 4**10, rel=1e-12)
    z = root_of(a, "isqrt", norm=norm, iterations=9)[2, 2]
    assert z == pytest.approx(1.5**9 / np.sqrt(c), rel=1e-12)
    z = root_of(a, "isqrt", "pade", norm=norm, degree=5)[2, 2]
    assert z == pytest.approx(11 / np.sqrt(c), rel=1e-11)


def test_the_worst_error_of_newton_schulz_over_all_matrices():
    # For two eigenvalues Wolkowicz–Styan is exact, so that x = √(w/c) is what we say it is.
    x = np.geomspace(1e-6, 1, 20001)
    a = np.zeros((len(x), 2, 2))
    a[:, 0, 0], a[:, 1, 1] = 1, x * x
    worst = {3: 7.98e-2, 5: 3.57e-2, 7: 1.59e-2, 10: 4.71e-3, 15: 6.20e-4, 20: 8.17e-5}
    for k, expected in worst.items():
        y = root_of(a, norm="wolkowicz_styan", iterations=k)[:, 1, 1]
        assert np.max(abs(x - y)) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize(
    ("norm", "size", "lost"),
    [
        ("frobenius", 16, 1.235307e-6),
        ("frobenius", 64, 7.285468e-4),
        ("frobenius", 256, 1.727851e-2),
        ("trace", 16, 1.728e-2),
        ("trace", 64, 0.2342),
        ("trace", 256, 0.5520),
        ("wolkowicz_styan", 16, 0),
        ("wolkowicz_styan", 256, 0),
        ("minc", 64, 0),
    ],
)
def test_newton_schulz_of_a_multiple_of_the_identity(norm, size, lost):
    y = root_of(3 * np.eye(size), norm=norm, iterations=5)
    digits = len(f"{lost:e}".split("e")[0].rstrip("0")) - 2
    assert 1 - y[0, 0] / np.sqrt(3) == pytest.approx(lost, rel=10.0**-digits, abs=1e-15)


def test_multiples_of_the_identity_have_exact_roots_and_gradients():
    g = cotangent((5, 5))
    a = 3 * np.eye(5)
    exact = g / (2 * np.sqrt(3))
    for names in [
        ("newton_schulz", "autodiff"),
        ("newton_schulz", "lyapunov_newton_schulz"),
        ("newton_schulz", "loewner"),
        ("eigh", "loewner"),
    ]:
        steps = {"iterations": 12} if names[0] == "newton_schulz" else {}
        steps |= {"backward_iterations": 15} if "lyapunov" in names[1] else {}
        assert error(gradient_of(a, g, "sqrt", *names, **steps), exact) < 1e-13


# ---------------------------------------------------------------- the golden matrix, any rotation

FORWARD_ERRORS = [
    ("newton_schulz", 3, 8.837215e-2, 7.424779e-2, 7.349578e-2),
    ("newton_schulz", 5, 3.070593e-2, 2.819843e-2, 2.807124e-2),
    ("newton_schulz", 10, 9.307329e-5, 2.486079e-5, 2.283908e-5),
    ("pade", 5, 5.422383e-2, 4.465089e-2, 4.414049e-2),
    ("taylor", 10, 0.1407504, 0.1189294, 0.1177733),
]
GRADIENT_ERRORS = [
    ("newton_schulz", 3, 0.6122615, 0.5709722),
    ("newton_schulz", 5, 0.3217162, 0.2627717),
    ("newton_schulz", 10, 1.581288e-2, 5.315201e-3),
    ("pade", 5, 0.5900297, 0.5596851),
    ("taylor", 10, 0.7421376, 0.7306006),
]
LYAPUNOV_ERRORS = [(5, 0.5585475), (8, 0.1015566), (10, 4.971336e-4)]
GOLDEN_RTOL = 1e-6


def golden():
    """The matrix, and the cotangent whose entries in its eigenbasis are all 1."""
    v = rotation(4, seed=3)
    return symmetric((v * GOLDEN) @ v.T), v @ np.ones((4, 4)) @ v.T


def _steps(forward, count):
    return {"iterations" if forward == "newton_schulz" else "degree": count}


def test_the_bounds_of_the_golden_matrix():
    a, _ = golden()
    c = [upper_bound(a, norm).item() for norm in PAPER_NORMS]
    assert c == pytest.approx([5.26, 4.1306900, 4.0734914], rel=1e-7)


@pytest.mark.parametrize("row", FORWARD_ERRORS, ids=lambda r: f"{r[0]}-{r[1]}")
def test_golden_errors_of_the_root(row):
    forward, count, *expected = row
    a, _ = golden()
    exact = exact_root(a, "sqrt")
    got = [
        error(root_of(a, forward=forward, norm=n, **_steps(forward, count)), exact)
        for n in PAPER_NORMS
    ]
    assert got == pytest.approx(expected, rel=GOLDEN_RTOL)


@pytest.mark.parametrize("row", GRADIENT_ERRORS, ids=lambda r: f"{r[0]}-{r[1]}")
def test_golden_errors_of_the_recorded_gradient(row):
    forward, count, *expected = row
    a, g = golden()
    exact = exact_gradient(a, g, "sqrt")
    got = [
        error(
            gradient_of(a, g, "sqrt", forward, "autodiff", norm=n, **_steps(forward, count)), exact
        )
        for n in ("trace", "frobenius")
    ]
    assert got == pytest.approx(expected, rel=GOLDEN_RTOL)


@pytest.mark.parametrize(("count", "expected"), LYAPUNOV_ERRORS)
def test_golden_errors_of_the_lyapunov_iteration_from_the_exact_root(count, expected):
    a, g = golden()
    backward = registry.lookup("backward", "lyapunov_newton_schulz")
    s = backward.call(Root(sqrt=exact_root(a, "sqrt")), "sqrt", g, iterations=count)
    assert error(s, exact_gradient(a, g, "sqrt")) == pytest.approx(expected, rel=GOLDEN_RTOL)
    s = backward.call(Root(sqrt=exact_root(a, "sqrt")), "sqrt", g, iterations=15)
    assert error(s, exact_gradient(a, g, "sqrt")) < 1e-14


# -------------------------------------------------------------------------------- gradient laws


def test_the_lyapunov_iteration_multiplies_by_the_mean_of_its_scalar_map():
    a, g = golden()
    w, v = np.linalg.eigh(a)
    d, c = np.sqrt(w), np.linalg.norm(a) ** 0.5
    backward = registry.lookup("backward", "lyapunov_newton_schulz")
    for k in (1, 3, 8):
        p, _ = newton_schulz_factor(d / c, k)
        factor = (p[:, None] + p[None, :]) / 2
        for function in ("sqrt", "isqrt"):
            exact = v.T @ exact_gradient(a, g, function) @ v
            root = Root(sqrt=exact_root(a, "sqrt"), isqrt=exact_root(a, "isqrt"))
            s = backward.call(root, function, g, iterations=k)
            assert error(v.T @ s @ v, factor * exact) < 1e-12


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_the_recorded_gradient_is_the_divided_difference_of_what_was_computed(function):
    a, g = golden()
    w, v = np.linalg.eigh(a)
    c = upper_bound(a, "wolkowicz_styan").item()  # detached: a constant
    k = 4

    def f(w):
        p, ratio = newton_schulz_factor(np.sqrt(w / c), k)
        return np.sqrt(w) * p if function == "sqrt" else ratio / np.sqrt(c)

    h = 1e-6 * w
    derivative = (f(w + h) - f(w - h)) / (2 * h)
    with np.errstate(invalid="ignore"):
        divided = (f(w)[:, None] - f(w)[None, :]) / (w[:, None] - w[None, :])
    np.fill_diagonal(divided, derivative)
    s = gradient_of(a, g, function, norm="wolkowicz_styan", iterations=k)
    assert error(v.T @ s @ v, divided * (v.T @ g @ v)) < 1e-8


def test_gradient_multipliers_of_null_directions():
    a = np.diag([1.0, 0.49, 0.0, 0.0])
    g, k = cotangent(a.shape), 14
    c = upper_bound(a, "wolkowicz_styan").item()
    s = gradient_of(a, g, norm="wolkowicz_styan", iterations=k) / g
    assert s[2:, 2:] == pytest.approx(np.full((2, 2), 1.5**k / np.sqrt(c)), rel=1e-11)
    assert s[:2, 2] * np.array([1.0, 0.7]) == pytest.approx(1.0, rel=1e-6)
    backward = registry.lookup("backward", "lyapunov_newton_schulz")
    y = exact_root_of_diagonal(a)
    r = np.linalg.norm(a) ** 0.5
    s = backward.call(Root(sqrt=y), "sqrt", g, iterations=k) / g
    assert s[2:, 2:] == pytest.approx(np.full((2, 2), 1.5**k / (2 * r)), rel=1e-11)
    assert s[:2, 2] * np.array([1.0, 0.7]) == pytest.approx(0.5, rel=1e-6)  # half the true one


@pytest.mark.parametrize("forward", ["eigh", "newton_schulz"])
def test_loewner_is_finite_where_the_gradient_of_a_singular_matrix_is_not(forward):
    a, g = np.diag([1.0, 0.49, 0.0, 0.0]), cotangent((4, 4))
    steps = {"iterations": 20} if forward == "newton_schulz" else {}
    s = gradient_of(a, g, "sqrt", forward, "loewner", **steps) / g
    assert not s[2:, 2:].any()
    assert s[:2, 2] * np.array([1.0, 0.7]) == pytest.approx(1.0, rel=1e-12)
    assert s[0, 1] == pytest.approx(1 / 1.7, rel=1e-12)


def exact_root_of_diagonal(a):
    return np.diag(np.sqrt(np.diag(a)))


# --------------------------------------------------------------------------- published constants


def test_pade_has_the_published_coefficients():
    p, q = coefficients(5)
    assert p == [1, -2.75, 2.75, -1.203125, 0.21484375, -0.0107421875]
    assert q == [1, -2.25, 1.75, -0.546875, 0.05859375, -0.0009765625]


@pytest.mark.parametrize("m", [0, 1, 5, 12, 20])
def test_zeros_and_poles_of_pade_are_the_known_cosines(m):
    j = np.arange(1, m + 1)
    zeros = np.cos((2 * j - 1) * pi / (4 * m + 2)) ** 2  # of P(r) in 1 / r
    poles = np.cos(j * pi / (2 * m + 1)) ** 2
    p, q = coefficients(m)
    assert p == pytest.approx(np.atleast_1d(np.poly(zeros)), rel=1e-12)
    assert q == pytest.approx(np.atleast_1d(np.poly(poles)), rel=1e-12)


@pytest.mark.parametrize("m", [1, 2, 5, 8])
def test_pade_equals_its_partial_fractions_and_its_series(m):
    p, q = coefficients(m)
    r = np.linspace(0, 0.99, 23)
    theta = [j * pi / (2 * m + 1) for j in range(1, m + 1)]
    fractions = 1 - sum(2 / (2 * m + 1) * sin(t) ** 2 * r / (1 - np.cos(t) ** 2 * r) for t in theta)
    quotient = np.polynomial.Polynomial(p)(r) / np.polynomial.Polynomial(q)(r)
    assert quotient == pytest.approx(fractions, rel=1e-11)
    # A [m/m] approximant agrees with the series of √(1 - r) through r^{2m}.
    t = np.cumprod([1.0, *((i - 1.5) / i for i in range(1, 2 * m + 1))])
    product = np.polynomial.Polynomial(q) * np.polynomial.Polynomial(t)
    rest = product.coef[: 2 * m + 1] - np.pad(p, (0, m))
    assert abs(rest).max() < 1e-13


def test_taylor_has_the_published_coefficients():
    published = [1, -1 / 2, -1 / 8, -0.0625, -0.0390625, -0.02734375, -0.0205078125]
    published += [-0.01611328125, -0.013092041015625, -0.0109100341796875, -0.009273529052734375]
    # A/c = (1 - r) I: the root of one matrix is the polynomial in r; differences give its terms.
    for degree in range(1, 11):
        r = 0.5
        a = np.diag([1.0, 1 - r])
        y, before = (
            root_of(a, forward="taylor", norm="wolkowicz_styan", degree=d)[1, 1]
            for d in (degree, degree - 1)
        )
        assert y - before == pytest.approx(published[degree] * r**degree, rel=1e-10)


@pytest.mark.parametrize("degree", range(26))
def test_paterson_and_stockmeyer_have_the_polynomial_of_taylor(degree):
    a, g = with_spectrum(GOLDEN), cotangent((3, 4, 4))
    given = {"degree": degree, "norm": "trace"}
    names = ("taylor", "taylor_paterson_stockmeyer")
    y, found = (root_of(a, forward=name, **given) for name in names)
    assert error(found, y) < 1e-15
    s, found = (gradient_of(a, g, "sqrt", name, "autodiff", **given) for name in names)
    assert error(found, s) < 1e-14


@pytest.mark.parametrize(("degree", "taylor", "fewest"), [(10, 9, 5), (5, 4, 3), (20, 19, 7)])
def test_paterson_and_stockmeyer_take_fewer_products_than_taylor(degree, taylor, fewest):
    for name, count in (("taylor", taylor), ("taylor_paterson_stockmeyer", fewest)):
        forward = registry.lookup("forward", name)
        with Cost() as cost:
            forward.call(TORCH64.put(with_spectrum(GOLDEN)), frozenset(["sqrt"]), degree=degree)
        assert cost.total == count == forward.products(degree=degree, norm="frobenius")


# --------------------------------------------------------------------------- scale and stability


@pytest.mark.sampled(20, slow=0)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("backward", ["autodiff", "lyapunov_newton_schulz"])
@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_a_power_of_four_passes_through_newton_schulz_bit_for_bit(norm, dtype, backward, function):
    a = torch.tensor(with_spectrum(GOLDEN), dtype=dtype)
    g = torch.tensor(cotangent(a.shape), dtype=dtype)
    pair = roots.pair(function, "newton_schulz", backward, (("norm", norm),))
    root, s = root_and_gradient(pair, a, g)
    power = 1 if function == "sqrt" else -1
    for j in (*range(-8, 11), 25, -25):
        scaled, t = root_and_gradient(pair, a * 4.0**j, g)
        assert torch.equal(scaled, root * 2.0 ** (power * j))
        assert torch.equal(t, s * 2.0 ** ((power - 2) * j))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_keeps_the_scale_law(dtype):
    a = torch.tensor(with_spectrum([1.0, 0.8, 0.5, 0.3])).to(dtype)
    g = torch.tensor(cotangent(a.shape)).to(dtype) / 8
    pair = roots.pair("sqrt", "newton_schulz", "lyapunov_newton_schulz", ())
    root, s = root_and_gradient(pair, a, g)
    for j in (-3, 2, 5, 7):  # 4^7 = 16384: the squares of such entries are far out of float16
        scaled, t = root_and_gradient(pair, a * 4.0**j, g)
        assert torch.equal(scaled, root * 2.0**j)
        assert torch.allclose(t.double(), s.double() / 2.0**j, rtol=0.05, atol=1e-5)


def test_permuted_rows_and_columns_permute_the_root():
    a = with_spectrum(GOLDEN, batch=1)[0]
    order = [2, 0, 3, 1]
    for norm in NORMS:
        y = root_of(a, norm=norm)
        permuted = root_of(a[np.ix_(order, order)], norm=norm)
        assert error(permuted, y[np.ix_(order, order)]) < 1e-13


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_many_more_steps_than_needed_do_not_spoil_newton_schulz(function):
    # Symmetrising Z Y as well as Y and Z, or taking Z T for T Z, grows rounding at κ > 34.
    a = with_spectrum(np.geomspace(1, 1e-3, 16), batch=4)
    exact = exact_root(a, function)
    errors = [error(root_of(a, function, iterations=k), exact) for k in range(10, 41)]
    assert errors[-1] < 10 * min(errors)
    assert errors[-1] < 1e-11


@pytest.mark.parametrize(
    ("size", "trace_steps", "frobenius_steps"), [(16, 9, 7), (64, 10, 8), (128, 11, 8)]
)
def test_steps_to_six_digits_on_a_covariance(size, trace_steps, frobenius_steps):
    x = np.random.default_rng(0).standard_normal((size, 4 * size))
    x -= x.mean(1, keepdims=True)
    a = x @ x.T / (4 * size)
    exact = exact_root(a, "sqrt")

    def steps(norm):
        return next(
            k for k in range(1, 20) if error(root_of(a, norm=norm, iterations=k), exact) < 1e-6
        )

    assert abs(steps("trace") - trace_steps) <= 1
    assert abs(steps("frobenius") - frobenius_steps) <= 1


def test_the_errors_of_the_published_defaults_on_a_covariance():
    x = np.random.default_rng(1).standard_normal((64, 256))
    x -= x.mean(1, keepdims=True)
    a = x @ x.T / 256
    exact = exact_root(a, "sqrt")
    expected = [
        ("newton_schulz", {"iterations": 3, "norm": "trace"}, 0.57),
        ("newton_schulz", {"iterations": 5, "norm": "trace"}, 0.24),
        ("newton_schulz", {"iterations": 5}, 1.6e-2),
        ("pade", {}, 6.8e-3),
        ("taylor", {}, 6.8e-2),
    ]
    for forward, parameters, value in expected:
        got = error(root_of(a, forward=forward, **parameters), exact)
        assert value / 1.5 < got < value * 1.5, (forward, parameters, got)


def test_pairs_that_converge_agree_with_each_other():
    a, g = golden()
    every = {
        call: root_and_gradient(call.pair(), TORCH64.put(a), TORCH64.put(g))[1].numpy()
        for call in (
            Call("eigh", "loewner", "isqrt"),
            Call("newton_schulz", "autodiff", "isqrt"),
            Call("denman_beavers", "lyapunov_newton_schulz", "isqrt"),
        )
    }
    first, *others = every.values()
    assert all(error(s, first) < 1e-11 for s in others)


def test_the_root_stays_nearly_symmetric_without_being_symmetrised():
    a = with_spectrum(np.geomspace(1, 0.05, 64), batch=1).astype(np.float32)
    y = root_of(a, iterations=12)
    assert error(y, arrays.to_numpy(y).swapaxes(-1, -2)) < 1e-6


def test_loewner_gives_zero_where_its_divided_difference_is_infinite():
    w = torch.tensor([[0.0, 0.0, 1.0, 4.0]], dtype=torch.float64)
    v = torch.tensor(rotation(4))[None]
    g = torch.tensor(cotangent((1, 4, 4)))
    s = registry.lookup("backward", "loewner").call(Root(eigen=(w, v)), "sqrt", g)
    inside = v.mT @ s @ v
    assert torch.isfinite(s).all()
    assert torch.allclose(inside[:, :2, :2], torch.zeros(1, 2, 2, dtype=w.dtype), atol=1e-15)
    assert abs(inside[0, 2, 3]) > 1e-3


def test_loewner_has_no_finite_gradient_where_there_is_no_inverse_root():
    w = torch.tensor([[0.0, 0.0, 1.0, 4.0]], dtype=torch.float64)
    v, g = torch.tensor(rotation(4))[None], torch.tensor(cotangent((1, 4, 4)))
    s = registry.lookup("backward", "loewner").call(Root(eigen=(w, v)), "isqrt", g)
    assert not torch.isfinite(s).any()


def test_no_subnormal_number_slows_the_lyapunov_iteration():
    a = torch.tensor(with_spectrum(np.linspace(1.5, 3.0, 16), batch=8)).float()
    y = a
    counts = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.is_floating_point():
                tiny = torch.finfo(out.dtype).tiny
                counts.append(int(((out != 0) & (out.abs() < tiny)).sum()))
            return out

    solve = registry.lookup("backward", "lyapunov_newton_schulz").call
    with Watch():
        solve(Root(sqrt=y), "sqrt", torch.ones_like(y), iterations=20)
    assert sum(counts) == 0
