"""The reference: at full accuracy where that exists, and never wrong about its own error."""

from fractions import Fraction
from functools import lru_cache

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mssbench import problems
from mssbench.errors import RegistryError, Unsupported
from mssbench.problems import synthetic
from mssbench.problems.reference import double_double as extended
from mssbench.problems.reference import solve
from mssbench.problems.rng import Streams

CONDITIONS = ["1e2", "1e4", "1e6", "1e8", "1e10", "1e12"]
DIGITS = 50


@lru_cache(maxsize=64)
def exact(name, size, precision="float64", index=0):
    """a, g, and by name the root, its inverse and both gradients to 50 digits."""
    p = problems.make(name, size, index + 1, 0)
    a, g = problems.cast(p.master, precision)[index], p.cotangent[index]
    with mp.workdps(DIGITS):
        w, v = mp.eigsy(mp.matrix(a.tolist()))
        d = [mp.sqrt(max(x, 0)) for x in w]
        known = {"sqrt": v * mp.diag(d) * v.T}
        if min(d) > 0:
            known["isqrt"] = z = v * mp.diag([1 / x for x in d]) * v.T
            g_mp = mp.matrix(g.tolist())
            known["gradient of sqrt"] = lyapunov(v, d, g_mp)
            known["gradient of isqrt"] = lyapunov(v, d, -z * g_mp * z)
    return a, g, known


def lyapunov(v, d, r):
    m = v.T * r * v
    for i in range(len(d)):
        for j in range(len(d)):
            m[i, j] /= d[i] + d[j]
    return v * m * v.T


def error(x, known):
    with mp.workdps(DIGITS):
        return float(mp.mnorm(mp.matrix(x.tolist()) - known, "f") / mp.mnorm(known, "f"))


def residual(y, s, r):
    return np.linalg.norm(y @ s + s @ y - r) / np.linalg.norm(r)


# Full accuracy, proven with 50 digits


@pytest.mark.sampled(5)
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("size", [3, 16])
def test_roots_and_gradients_are_right_to_the_last_bit(condition, size):
    a, g, known = exact(f"logspec({condition})", size)
    ref = solve.solve(a[None])
    found = {"sqrt": (ref.sqrt, ref.error_sqrt), "isqrt": (ref.isqrt, ref.error_isqrt)}
    for function in ("sqrt", "isqrt"):
        found[f"gradient of {function}"] = solve.gradient(ref, function, g[None])
    for what, (x, bound) in found.items():
        true = error(x[0], known[what])
        assert true <= 1.2e-16, what  # half a unit in the last place of every entry
        assert true <= bound <= 1.5e-16, what
        np.testing.assert_array_equal(x, x.swapaxes(1, 2))


MODERATE = [
    "power(4)",
    "clusters",
    "clusters(gap=1e-12)",
    "identity",
    "near_identity",
    "wishart(2)",
    "spiked",
    "logspec(1e12)|scale(1e12)",
    "logspec(1e12)|scale(1e-12)",
]
EXTREME = ["power(2)|scale(1e-30)|scale(1e-30)|scale(1e-30)", "power(2)|scale(1e30)|scale(1e30)"]


@pytest.mark.parametrize(
    ("name", "precision"),
    [(n, p) for n in MODERATE for p in ("float64", "bfloat16")] + [(n, "float64") for n in EXTREME],
)
def test_bounds_hold_on_every_definite_problem(name, precision):
    a, g, known = exact(name, 8, precision)
    ref = solve.solve(a[None])
    assert error(ref.sqrt[0], known["sqrt"]) <= ref.error_sqrt
    if ref.isqrt is None:
        assert ref.singular.all()
        return
    assert error(ref.isqrt[0], known["isqrt"]) <= ref.error_isqrt < 2e-16
    for function in ("sqrt", "isqrt"):
        s, bound = solve.gradient(ref, function, g[None])
        assert error(s[0], known[f"gradient of {function}"]) <= bound < 2e-16


def test_beyond_1e12_the_bound_still_holds():
    for condition in ("1e13", "2e13", "1e14"):
        a, g, known = exact(f"logspec({condition})", 8)
        ref = solve.solve(a[None])
        assert error(ref.sqrt[0], known["sqrt"]) <= ref.error_sqrt
        if not ref.singular.any():
            s, bound = solve.gradient(ref, "isqrt", g[None])
            assert error(s[0], known["gradient of isqrt"]) <= bound


@pytest.mark.parametrize("condition", ["1e2", "1e6", "1e10"])
@pytest.mark.parametrize("size", [2, 16, 64, 200])
def test_an_exactly_known_root_is_met_to_the_last_bit(condition, size):
    p = problems.make(f"exact_root({condition})", size, 2, 0)
    y = synthetic.known_root(size, Streams(p.name, size, range(2), 0), float(condition))
    ref = solve.solve(p.master, want_isqrt=False)
    # An entry that is exactly zero among a hundred others has no last bit to compare.
    np.testing.assert_array_equal(ref.sqrt[y != 0], y[y != 0])
    assert np.abs(ref.sqrt[y == 0]).max(initial=0) < 1e-30
    assert ref.error_sqrt < 1.2e-16
    assert ref.isqrt is None


def test_plain_eigenvalues_would_not_be_good_enough():
    a, g, known = exact("logspec(1e12)", 16)
    w, v = np.linalg.eigh(a)
    d = np.sqrt(w)
    assert error((v * d) @ v.T, known["sqrt"]) > 1e-13
    s = v @ ((v.T @ g @ v) / (d[:, None] + d)) @ v.T
    assert error(s, known["gradient of sqrt"]) > 1e-8


@pytest.mark.parametrize("name", ["wishart(2)", "logspec(1e6)"])
def test_large_matrices_solve_their_equations(name):
    p = problems.make(name, 128, 2, 0)
    ref = solve.solve(p.master)
    assert max(ref.error_sqrt, ref.error_isqrt) < 1.2e-16
    for a, y, z, g, s, t in zip(
        p.master,
        ref.sqrt,
        ref.isqrt,
        p.cotangent,
        solve.gradient(ref, "sqrt", p.cotangent)[0],
        solve.gradient(ref, "isqrt", p.cotangent)[0],
        strict=True,
    ):
        assert np.linalg.norm(y @ y - a) < 1e-14
        assert np.linalg.norm(y @ z - np.eye(128)) < 1e-12 * np.linalg.norm(z)
        assert residual(y, s, g) < 1e-12
        assert residual(y, t, -z @ g @ z) < 1e-10


def test_a_gradient_is_what_finite_differences_say():
    # They know nothing of Lyapunov equations, eigenbases or signs.
    p = problems.make("wishart(4)", 5, 1, 0)
    h = 1e-6 * problems.make("near_identity", 5, 1, 7).cotangent
    ref = solve.solve(p.master)
    above, below = solve.solve(p.master + h), solve.solve(p.master - h)
    for function in ("sqrt", "isqrt"):
        s, _ = solve.gradient(ref, function, p.cotangent)
        rise = (getattr(above, function) - getattr(below, function)) / 2
        assert np.sum(p.cotangent * rise) == pytest.approx(np.sum(s * h), rel=1e-6)


def test_the_gradient_does_not_depend_on_whether_the_inverse_was_asked_for():
    p = problems.make("logspec(1e6)", 8, 2, 0)
    with_it = solve.gradient(solve.solve(p.master), "isqrt", p.cotangent)
    without = solve.gradient(solve.solve(p.master, False), "isqrt", p.cotangent)
    np.testing.assert_array_equal(with_it[0], without[0])
    assert with_it[1] == without[1]


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_a_zero_cotangent_has_a_zero_gradient(function):
    p = problems.make("wishart(2)", 4, 1, 0)
    s, bound = solve.gradient(solve.solve(p.master), function, np.zeros((1, 4, 4)))
    assert not s.any()
    assert bound < 2e-16


# Scaling, batches


@settings(max_examples=20)
@example(300, "logspec(1e8)")
@example(-300, "wishart(0.5)")
@given(st.integers(-300, 300), st.sampled_from(["logspec(1e8)", "wishart(0.5)", "dead_channels"]))
def test_powers_of_four_scale_through_without_a_rounding(k, name):
    p = problems.make(name, 6, 2, 0)
    plain, scaled = solve.solve(p.master), solve.solve(np.ldexp(p.master, 2 * k))
    np.testing.assert_array_equal(scaled.sqrt, np.ldexp(plain.sqrt, k))
    np.testing.assert_array_equal(scaled.w, np.ldexp(plain.w, 2 * k))
    assert scaled.error_sqrt == plain.error_sqrt
    if plain.isqrt is not None:
        np.testing.assert_array_equal(scaled.isqrt, np.ldexp(plain.isqrt, -k))
        for function, power in (("sqrt", -k), ("isqrt", -3 * k)):
            s, t = (solve.gradient(r, function, p.cotangent)[0] for r in (plain, scaled))
            np.testing.assert_array_equal(t, np.ldexp(s, power))


def test_a_batch_gives_what_each_matrix_gives():
    names = ("logspec(1e12)", "wishart(0.5)", "identity", "dead_channels", "wishart(2)")
    a = np.concatenate([problems.make(name, 8, 2, 0).master for name in names])
    together, apart = solve.solve(a), [solve.solve(one[None]) for one in a]
    np.testing.assert_array_equal(together.singular, [bool(r.singular[0]) for r in apart])
    np.testing.assert_allclose(together.w, np.concatenate([r.w for r in apart]), atol=1e-15)
    np.testing.assert_allclose(together.sqrt, np.concatenate([r.sqrt for r in apart]), atol=1e-15)
    assert together.error_sqrt == pytest.approx(max(r.error_sqrt for r in apart), rel=0.1)
    assert together.isqrt is None  # some have none
    g = problems.make("identity", 8, len(a), 0).cotangent
    with pytest.raises(Unsupported, match="no value between two null directions"):
        solve.gradient(together, "sqrt", g)


def test_one_singular_matrix_leaves_the_batch_without_inverse_and_gradient():
    a = problems.make("wishart(2)|mixed_batch(singular, position=1)", 8, 3, 0).master
    ref = solve.solve(a)
    assert ref.singular.tolist() == [False, True, False]
    assert ref.isqrt is None
    with pytest.raises(Unsupported, match="no value between two null directions"):
        solve.gradient(ref, "sqrt", a)


def test_inputs_are_not_written_to():
    p = problems.make("dead_channels|mixed_batch(ill_conditioned)", 8, 3, 0)  # read-only arrays
    before = p.master.copy()
    solve.solve(p.master)
    np.testing.assert_array_equal(p.master, before)


# Singular, indefinite, zero


@pytest.mark.sampled(5, slow=3)
@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["wishart(0.5)", "wishart(1)", "rankdef", "power_null(3)"])
def test_the_error_of_a_singular_root_is_bounded_and_not_absurd(name, precision):
    found = []
    for index in range(4 if precision == "float64" else 12):
        a, _, known = exact(name, 8, precision, index)
        ref = solve.solve(a[None])
        if not ref.singular[0]:
            continue
        assert ref.isqrt is None
        assert np.isnan(ref.error_isqrt)
        true = error(ref.sqrt[0], known["sqrt"])
        assert true <= ref.error_sqrt
        found.append(ref.error_sqrt)
        assert precision == "float64" or ref.error_sqrt < 1e-10
    if precision == "float64":
        assert len(found) == 4
        assert all(1e-8 <= bound <= 1e-7 for bound in found)


def test_nothing_about_a_null_space_is_certain_below_1e_8():
    # One null vector among many others hides behind the norm of the root.
    a = np.eye(100)
    a[0, 0] = 1e-18
    ref = solve.solve(a[None])
    assert ref.singular[0]
    assert 1e-8 <= ref.error_sqrt < 2e-8


def test_an_indefinite_matrix_has_the_root_of_its_positive_part():
    q, _ = np.linalg.qr(problems.make("near_identity", 4, 1, 3).cotangent[0])
    a = (q * [4.0, 1.0, 0.25, -2.0]) @ q.T
    ref = solve.solve(((a + a.T) / 2)[None])
    np.testing.assert_allclose(ref.sqrt[0], (q * [2.0, 1.0, 0.5, 0.0]) @ q.T, atol=1e-14)
    np.testing.assert_allclose(ref.w[0], [-2, 0.25, 1, 4])
    assert ref.singular[0]


def test_a_zero_matrix_has_exactly_a_zero_root():
    ref = solve.solve(np.zeros((2, 3, 3)))
    assert not ref.sqrt.any()
    assert not ref.w.any()
    assert ref.error_sqrt == 0
    assert ref.singular.all()
    assert ref.isqrt is None


def test_dead_channels_leave_exact_zeros_around_a_certified_block():
    a, _, known = exact("dead_channels(0.5)", 16)
    live = a.any(axis=1)
    assert 0 < live.sum() < 16
    ref = solve.solve(a[None])
    assert error(ref.sqrt[0], known["sqrt"]) <= ref.error_sqrt < 1.2e-16
    assert not ref.sqrt[0][~live].any()
    assert not ref.sqrt[0][:, ~live].any()
    assert ref.singular.all()
    assert ref.isqrt is None
    np.testing.assert_allclose(ref.w[0], np.linalg.eigvalsh(a), atol=1e-15)
    assert (np.diff(ref.w[0]) >= 0).all()


def test_the_matrix_that_breaks_float32_solvers_has_a_certain_root():
    ref = solve.solve(problems.make("pinned", 64, 1, 0).master)
    assert ref.singular.all()
    assert ref.error_sqrt < 2e-7


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad):
    a = np.eye(2)[None].copy()
    a[0, 0, 0] = bad
    with pytest.raises(Unsupported, match="the matrix has entries that are not finite"):
        solve.solve(a)


def test_unknown_words_are_refused():
    ref = solve.solve(np.eye(2)[None])
    with pytest.raises(RegistryError, match="Unknown function 'cbrt'"):
        solve.gradient(ref, "cbrt", np.eye(2)[None])


def test_singular_means_within_the_noise_of_a_float64_decomposition():
    for smallest, expected in ((1e-12, False), (1e-14, True), (0.0, True), (-1e-3, True)):
        a = np.diag([1.0] + [0.5] * 14 + [smallest])
        a[14, 15] = a[15, 14] = 1e-20  # no zero row
        assert solve.solve(a[None]).singular[0] == expected


# Which matrices are checked


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 39))
def test_the_worst_conditioned_matrix_is_always_checked(batch, count, bad):
    bad %= batch
    a = np.tile(np.diag([1.0, 0.5, 0.1]), (batch, 1, 1))
    a[bad, 2, 2] = 1e-9
    chosen = solve.worst(a, count).tolist()
    assert bad in chosen
    assert len(set(chosen)) == len(chosen) == min(count, batch)
    assert chosen == sorted(chosen)
    assert set(chosen) <= set(range(batch))
    if count > 1:
        assert 0 in chosen
    if count > 3 and batch > 20:
        assert max(chosen) == batch - 1


def test_a_zero_matrix_does_not_stop_the_choice():
    a = np.stack([np.eye(3), np.zeros((3, 3)), np.eye(3)])
    assert 1 in solve.worst(a, 2)


# Products that do not round


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(0, 10**6), st.integers(-40, 40))
def test_products_carry_a_hundred_bits(n, seed, shift):
    rng = Streams("any", n, [0], seed)
    x, y = (np.ldexp(rng.normal(n, n), rng.integers(20, n, n) + shift) for _ in range(2))
    lo = np.ldexp(rng.normal(n, n), -60 + shift)
    hi, rest = extended._two_sum(x, lo)
    x = extended.DoubleDouble(hi, rest)
    got = extended.product(x, extended.DoubleDouble(y, np.zeros_like(y)))
    scale = n * np.abs(hi).max() * np.abs(y).max()
    for i in range(n):
        for j in range(n):
            full = sum(
                (Fraction(hi[0, i, k]) + Fraction(rest[0, i, k])) * Fraction(y[0, k, j])
                for k in range(n)
            )
            found = Fraction(got.hi[0, i, j]) + Fraction(got.lo[0, i, j])
            assert abs(found - full) <= 2.0**-100 * scale


@pytest.mark.parametrize("n", [1, 2, 3, 64, 127, 129, 256, 300])
def test_slices_are_so_short_that_whole_rows_add_without_rounding(n):
    # Entries just below a power of two fill every slice to the brim.
    x = np.full((1, n, n), 1 - 2.0**-53)
    x[0, :, ::3] = -0.7499999999999999
    pair = extended.DoubleDouble(x, -x * 2.0**-54)
    slices = extended._slices(pair)
    total = sum((Fraction(s[0, 0, 0]) for s in slices), Fraction(0))
    assert abs(total - Fraction(pair.hi[0, 0, 0]) - Fraction(pair.lo[0, 0, 0])) < 2.0**-100
    for s in slices[:2]:
        for t in slices[:2]:
            true = sum(Fraction(s[0, 0, k]) * Fraction(t[0, k, 1 % n]) for k in range(n))
            assert Fraction((s @ t)[0, 0, 1 % n]) == true
    worst_case = np.abs(np.stack(slices)).max(axis=(1, 2, 3))
    bits = (55 - (n - 1).bit_length()) // 2
    unit = 2.0 ** -(bits * np.arange(1, 6) - 1)
    assert (n * (worst_case / unit) ** 2 <= 2.0**53).all()


def test_the_bits_do_not_depend_on_the_order_of_summation():
    p = problems.make("logspec(1e10)", 32, 1, 0)
    y = extended.DoubleDouble(p.master, p.master * 2.0**-55)
    order = np.random.default_rng(0).permutation(32)
    columns = extended.DoubleDouble(*(x[:, :, order] for x in y))
    rows = extended.DoubleDouble(*(x[:, order] for x in y))
    straight, shuffled = extended.product(y, y), extended.product(columns, rows)
    np.testing.assert_array_equal(straight.hi, shuffled.hi)
    np.testing.assert_array_equal(straight.lo, shuffled.lo)
