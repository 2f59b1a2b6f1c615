"""The SVD remedies as their authors' layers compute them, faults included.

The layers' arithmetic is written out here in numpy, entry by entry. Each gradient is then compared
with what the layers are known to do at ties and at singular matrices.
"""

from functools import cache

import mpmath
import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.methods.backward import svd_pade_released
from mssbench.methods.method import FUNCTIONS
from mssbench.testing.matrices import (
    UNIT,
    cotangent,
    error,
    exact_gradient,
    root_and_gradient,
    rotation,
    spectrum,
    symmetric,
    with_spectrum,
)

functions = pytest.mark.parametrize("function", FUNCTIONS)
RELEASED = sorted(
    name
    for name in registry.known("backward")
    if name.startswith("svd_") and name.endswith("_released")
)
released = pytest.mark.parametrize("name", RELEASED)
EPS = UNIT["float64"]
TAIL = {"svd_topn_released": {"tail": 2}}  # fifty, its default, is for larger matrices


def gradient(name, a, g, function="sqrt", forward="eigh", **given):
    """s by a decomposition and one of its backwards, in the precision of a."""
    given = {**TAIL.get(name, {}), **given}
    prefixed = tuple(sorted((f"backward_{key}", value) for key, value in given.items()))
    pair = roots.pair(function, forward, name, prefixed)
    return root_and_gradient(pair, torch.as_tensor(a), torch.as_tensor(g))[1].numpy()


@cache
def pade_coefficients():
    """What the layer asks mpmath for when it is imported."""
    with mpmath.workdps(20):
        series = mpmath.taylor(lambda x: mpmath.mpf(1) / (mpmath.mpf(1) - x), 0, 100)
        return [[float(c) for c in part] for part in mpmath.pade(series, 50, 50)]


def k_of(name, w):
    """The layer's K, (n, n), of descending eigenvalues that are at least ε."""
    n = len(w)
    k = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            larger, r = max(w[i], w[j]), min(w[i], w[j]) / max(w[i], w[j])
            sign = 1 if w[i] >= w[j] else -1
            if name == "svd_taylor_released":
                k[i, j] = sign * sum(r**m for m in range(101)) / larger
            elif name == "svd_pade_released":
                p, q = pade_coefficients()
                powers = r ** np.arange(51)
                k[i, j] = sign * (p @ powers) / (q @ powers) / larger
            else:
                k[i, j] = np.inf if w[i] == w[j] else 1 / (w[i] - w[j])
    if name == "svd_trunc_released":
        return np.clip(k, -1e10, 1e10)
    return np.where(np.isinf(k), k[~np.isinf(k)].max(), k)


def layer_gradient(name, w, v, g, function):
    """S by the layer's arithmetic, from given eigenpairs; w descending."""
    w = np.maximum(w, EPS)
    if name == "svd_topn_released":
        w[-2:] = EPS
    f = np.sqrt(w) if function == "sqrt" else 1 / np.sqrt(w)
    slope = 0.5 / np.sqrt(w) if function == "sqrt" else -0.5 * w**-1.5
    u = 2 * g @ v * f
    inner = k_of(name, w).T * (v.T @ u) + np.diag(slope * np.diag(v.T @ g @ v))
    s = v @ inner @ v.T
    return symmetric(s)


# ------------------------------------------------------------------------- the layer's arithmetic


@functions
@pytest.mark.parametrize(
    "w", [[4, 1, 1 / 4, 1 / 100], [4, 1, 0.999, 1e-17], [2, 1e-16, 1e-17, 0]], ids=str
)
@pytest.mark.parametrize(
    "name", [name for name in RELEASED if "power" not in name and "pade" not in name]
)
def test_the_gradient_is_that_of_the_layer(name, w, function):
    w = np.array(w, dtype=float)
    a = np.diag(w)
    g = cotangent(a.shape)
    for forward in ("eigh", "svd"):  # ascending and descending eigenvalues
        expected = layer_gradient(name, w.copy(), np.eye(4), g, function)
        assert error(gradient(name, a, g, function, forward), expected) < 1e-13


@functions
def test_pade_is_that_of_the_layer_where_its_denominator_is_no_rounding(function):
    w = np.array([4, 1, 0.9, 1e-17])
    g = cotangent((4, 4))
    expected = layer_gradient("svd_pade_released", w.copy(), np.eye(4), g, function)
    assert error(gradient("svd_pade_released", np.diag(w), g, function), expected) < 1e-12


def test_the_coefficients_of_pade_are_those_of_mpmath():
    found = [
        svd_pade_released._coefficients(text)
        for text in (svd_pade_released._P, svd_pade_released._Q)
    ]
    if mpmath.__version__.startswith("1.3."):  # they are its rounding: another one may differ
        assert found == pade_coefficients()
    p, q = np.array(found)
    rest = np.convolve(q, np.ones(101))[:101] - np.pad(p, (0, 50))
    assert abs(rest).max() < 1e-14  # whatever they are, they solve the system
    assert abs(q.sum()) < 1e-14  # and the denominator vanishes at a tie


@pytest.mark.parametrize("r", [0.1, 0.5, 0.9, 0.99])
def test_pade_is_accurate_where_eigenvalues_are_apart(r):
    s = gradient("svd_pade_released", np.diag([1.0, r]), np.ones((2, 2)))
    assert s[0, 1] / (1 - np.sqrt(r)) == pytest.approx(1 / (1 - r), rel=1e-10)


@functions
def test_the_released_gradient_is_exact_for_separate_eigenvalues_above_the_floor(function):
    a = with_spectrum(spectrum("condition_100", 6))
    g = cotangent(a.shape)
    exact = exact_gradient(a, g, function)
    for name in ("svd_original_released", "svd_trunc_released"):
        assert error(gradient(name, a, g, function), exact) < 1e-13
    assert error(gradient("svd_pade_released", a, g, function), exact) < 1e-8
    assert error(gradient("svd_topn_released", a, g, function, tail=0), exact) < 1e-13


# ------------------------------------------------------------------------------- what ties become


def test_a_multiple_of_the_identity_has_the_gradients_that_were_seen():
    a = 2 * np.eye(16)
    g = cotangent(a.shape)
    exact = exact_gradient(a, g, "sqrt")
    largest = abs(g - np.diag(np.diag(g))).max() * 2 * np.sqrt(2)  # times K, off the diagonal
    lost = gradient("svd_original_released", a, g)  # no finite K but 0
    assert error(lost, np.diag(np.diag(exact))) < 1e-15
    trunc = gradient("svd_trunc_released", a, g)
    assert abs(trunc).max() == pytest.approx(1e10 * largest)
    taylor = gradient("svd_taylor_released", a, g)
    assert abs(taylor).max() == pytest.approx(101 / 2 * largest)
    pade = gradient("svd_pade_released", a, g)  # Q(1) = 0, and no finite K but 0
    assert error(pade, np.diag(np.diag(exact))) < 1e-15
    single = gradient("svd_pade_released", a.astype("float32"), g.astype("float32"))
    assert abs(single).max() == pytest.approx(0.5490362 / 2**-23 / 2 * largest, rel=1e-5)  # 1.3e7


def test_the_tie_of_one_matrix_takes_the_largest_factor_of_the_batch():
    tied, apart = np.diag([2.0, 2.0, 1.0]), np.diag([2.0, 1.0, 1 - 1e-6])
    g = cotangent((3, 3))
    alone = gradient("svd_original_released", tied[None], g[None])[0]
    assert alone[0, 1] == pytest.approx(2 * np.sqrt(2) * g[0, 1])  # its own largest K is 1
    beside = gradient("svd_original_released", np.stack([tied, apart]), np.stack([g, g]))
    assert beside[0, 0, 1] == pytest.approx(1e6 * alone[0, 1], rel=1e-6)
    assert error(beside[1], exact_gradient(apart, g, "sqrt")) < 1e-9


def test_an_infinite_gradient_is_replaced_by_the_largest_finite_number():
    a = np.diag([1.0, 0.5, 0.25]).astype("float32")
    g = np.zeros((3, 3), "float32")
    g[1, 2] = g[2, 1] = 1e38  # times 2 K = 8 it is no number of float32
    assert not np.isfinite(gradient("svd_original", a, g)).all()
    for name in ("svd_original_released", "svd_trunc_released"):
        assert np.isfinite(gradient(name, a, g)).all()


def test_a_scaled_matrix_has_another_gradient_below_the_absolute_floor():
    a, g = with_spectrum([4.0, 2.0, 1.0, 0.25]), cotangent((3, 4, 4))
    for name in RELEASED:
        if "power" in name:
            continue
        scaled = (
            gradient(name, a * 4.0**-28, g, tail=0)
            if "topn" in name
            else gradient(name, a * 4.0**-28, g)
        )
        whole = gradient(name, a, g, tail=0) if "topn" in name else gradient(name, a, g)
        assert error(scaled * 2.0**-28, whole) > 0.1


# ----------------------------------------------------------------------------- power iteration


@functions
def test_the_gradient_of_power_iteration_is_rounding(function):
    a = with_spectrum(spectrum("condition_100", 16))
    g = cotangent(a.shape)
    for dtype, most in (("float64", 1e-13), ("float32", 1e-5)):
        s = gradient("svd_power_iteration_released", a.astype(dtype), g.astype(dtype), function)
        assert np.linalg.norm(s) < most * np.linalg.norm(exact_gradient(a, g, function))


def test_power_iteration_is_that_of_the_layer_for_vectors_that_are_not_orthogonal():
    """Where I - V Vᵀ is no rounding, so that the sum counts."""
    w, v = np.array([3.0, 2.0, 1.0, 0.5]), rotation(4) + 0.1
    g = cotangent((4, 4))
    call = registry.lookup("backward", "svd_power_iteration_released").call
    found = call(mssbench.Root(eigen=(w, v)), "sqrt", g)

    a = (v * w) @ v.T
    norm = np.linalg.norm(a @ v)
    series = sum(np.linalg.matrix_power(a / norm, i) for i in range(21)) @ (np.eye(4) - v @ v.T)
    assert error(found, symmetric(series / norm @ (2 * g @ v * np.sqrt(w)) @ v.T)) < 1e-13


# ----------------------------------------------------------------------------- singular matrices


def features(n, samples, dtype, seed):
    """X, (2, n, samples), a cotangent G of the root, and dL/dX in float64, which no null cut needs.

    L = <G, (X Xᵀ / M)^{1/2}>, from the singular vectors of X.
    """
    random = np.random.default_rng(seed)
    x = random.standard_normal((2, n, samples)).astype(dtype)
    g = symmetric(random.standard_normal((2, n, n))).astype(dtype)
    u, s, _ = np.linalg.svd(x.astype(float), full_matrices=False)
    d, ut = s / np.sqrt(samples), u.swapaxes(1, 2)
    inside = ut @ g @ u
    in_range = u @ (inside / (d[:, :, None] + d[:, None, :]))
    out_of_range = (g @ u - u @ inside) / d[:, None, :]
    return x, g, 2 / samples * (in_range + out_of_range) @ ut @ x


def error_at_features(n, samples, dtype, forward, backward, **given):
    """The largest relative error of dL/dX over the two matrices of each of three seeds."""
    pair = roots.pair("sqrt", forward, backward, tuple(sorted(given.items())))
    worst = 0.0
    for seed in range(3):
        x, g, due = features(n, samples, dtype, seed)
        leaf = torch.tensor(x, requires_grad=True)
        (pair(leaf @ leaf.mT / samples) * torch.tensor(g)).sum().backward()
        worst = max(worst, error(leaf.grad.double().numpy(), due))
    return worst


PAIRS = {
    "original": ("svd_released", "svd_original_released"),
    "trunc": ("svd_released", "svd_trunc_released"),
    "pade": ("svd_released", "svd_pade_released"),
    "topn": ("gcp_truncate_released", "svd_topn_released"),
}
# Published layers at fewer samples than dimensions: error on dL/dX that the largest of a few
# matrices stays within. Ours, with a relative cut, have 2e-5 and 1e-13 at all of them.
SMALL = {  # n = 64, M = 32
    ("original", "float32"): (1e-3, 1e2),
    ("original", "float64"): (1e-8, 1e-2),
    ("trunc", "float32"): (1e-1, 1e1),
    ("trunc", "float64"): (1e-9, 1e-6),
    ("pade", "float32"): (1e2, 1e5),
    ("pade", "float64"): (1e-8, 1e-2),
}
LARGE = {  # n = 256, M = 196, where 3.0, 8.6e-5, 1.6, 5e-8, 6.3e3 and 8.6e-5 were seen of theirs
    ("original", "float32"): (0.3, 30),
    ("original", "float64"): (8.6e-6, 8.6e-4),
    ("trunc", "float32"): (0.16, 16),
    ("trunc", "float64"): (5e-9, 5e-7),
    ("pade", "float32"): (6.3e2, 6.3e4),
    ("pade", "float64"): (8.6e-6, 8.6e-4),
}


@pytest.mark.parametrize(("case", "bounds"), SMALL.items(), ids=str)
def test_the_released_layers_need_float64_at_fewer_samples_than_dimensions(case, bounds):
    (name, dtype), (least, most) = case, bounds
    assert least < error_at_features(64, 32, dtype, *PAIRS[name]) < most


@pytest.mark.slow
@pytest.mark.parametrize(("case", "bounds"), LARGE.items(), ids=str)
def test_the_errors_of_the_released_layers_at_the_papers_size(case, bounds):
    (name, dtype), (least, most) = case, bounds
    assert least < error_at_features(256, 196, dtype, *PAIRS[name]) < most


def test_topn_is_harmless_where_its_tail_is_null_and_wrong_where_it_is_not():
    null = error_at_features(64, 32, "float64", *PAIRS["topn"], drop=32, backward_tail=32)
    live = error_at_features(64, 32, "float64", *PAIRS["topn"], drop=33, backward_tail=33)
    assert null < 1e-3
    assert live > 1e3  # 1 / √ε


# --------------------------------------------------------------------------------- the forwards


def test_the_released_forward_has_a_root_of_eps_where_a_is_null():
    v = rotation(4)
    a = symmetric((v * [4.0, 1.0, 1e-17, 0.0]) @ v.T)
    expected = (v * np.sqrt([4.0, 1.0, EPS, EPS])) @ v.T
    assert error(mssbench.sqrtm(torch.tensor(a), forward="svd_released").numpy(), expected) < 1e-15
    w = registry.lookup("forward", "svd_released").call(torch.tensor(a), frozenset(["eigen"]))
    assert w.eigen[0].tolist() == pytest.approx([4.0, 1.0, EPS, EPS])


@pytest.mark.parametrize("drop", [0, 1, 3])
def test_the_released_truncation_sets_the_smallest_eigenvalues_to_eps(drop):
    w, v = np.array([4.0, 1.0, 0.3, 0.1]), rotation(4)
    a = symmetric((v * w) @ v.T)
    for scale in (1.0, 4.0**-20):  # ε is the same, however small the others are
        kept = np.where(np.arange(4) < 4 - drop, w * scale, EPS)
        y = roots.pair("sqrt", "gcp_truncate_released", None, (("drop", drop),))(a * scale)
        assert error(y, (v * np.sqrt(kept)) @ v.T) < 1e-13


def test_a_tail_of_the_whole_matrix_is_refused():
    a = torch.eye(50, requires_grad=True)
    says = r"^drop = 50 leaves none of the 50 eigenvalues of a matrix\.$"
    with pytest.raises(InputError, match=says):
        mssbench.sqrtm(a, forward="gcp_truncate_released", backward="svd_topn_released")
    root = mssbench.sqrtm(a, forward="svd", backward="svd_topn_released")
    says = r"svd_topn_released sets 50 eigenvalues of 50 to one number: take a shorter tail"
    with pytest.raises(InputError, match=says):
        root.sum().backward()


# ---------------------------------------------------------------------- the scaling eigen branch


def test_the_released_branch_is_ours_where_no_entry_is_zero_and_no_eigenvalue_small():
    a = with_spectrum([1.4, 0.7, 0.2, 0.01])
    g = cotangent(a.shape)
    ours, theirs = (
        root_and_gradient(
            roots.pair("sqrt", forward, "daleckii_krein"), torch.tensor(a), torch.tensor(g)
        )
        for forward in ("gcp_seb", "gcp_seb_released")
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert error(other.numpy(), mine.numpy()) < 1e-12


def test_the_released_branch_divides_zero_by_zero():
    y = mssbench.sqrtm(torch.diag(torch.tensor([2.0, 1.0])), forward="gcp_seb_released")
    assert torch.isfinite(y.diag()).all()
    assert torch.isnan(y[0, 1])
    assert torch.isnan(y[1, 0])


def test_the_released_branch_has_the_layers_gradient_at_ties():
    """The layer's arithmetic, written out: each of its functions has the adjoint of its own."""
    v, w = rotation(4), np.array([0.015, 0.005, 0, 0])  # so small that rounding is below ε
    a, g = torch.tensor(symmetric((v * w) @ v.T)), cotangent((4, 4))
    call = registry.lookup("forward", "gcp_seb_released").call
    root = call(a, frozenset(["sqrt", "differential"]))
    v = root.differential[0].numpy()
    found = registry.lookup("backward", "daleckii_krein").call(root, "sqrt", torch.tensor(g))

    w = np.maximum(np.linalg.svd(a.numpy())[1], EPS)
    y, e = (v * np.sqrt(w)) @ v.T, (v * np.exp(-w)) @ v.T
    m = y @ e.T
    phi = np.linalg.norm(m)
    to_m = (g * y).sum() * m / phi
    to_y, to_e = g * (1 + phi) + to_m @ e, to_m.T @ y
    u = 2 * symmetric(to_y) @ v * np.sqrt(w) + 2 * symmetric(to_e) @ v * np.exp(-w)
    of_values = np.diag(v.T @ to_y @ v) / (2 * np.sqrt(w)) - np.exp(-w) * np.diag(v.T @ to_e @ v)
    s = v @ (k_of("svd_original_released", w).T * (v.T @ u) + np.diag(of_values)) @ v.T
    assert error(found.numpy(), symmetric(s)) < 1e-10
    exact = roots.pair("sqrt", "gcp_seb", "daleckii_krein")
    right = root_and_gradient(exact, a, torch.tensor(g))[1].numpy()
    assert error(v[:, :2].T @ found.numpy() @ v[:, :2], v[:, :2].T @ right @ v[:, :2]) < 1e-6


# ------------------------------------------------------------------------------ what all must keep


@functions
@released
def test_a_cotangent_counts_by_its_symmetric_part_and_keeps_its_precision(function, name):
    a = with_spectrum(spectrum("condition_100", 5))
    g = np.random.default_rng(1).standard_normal(a.shape)
    s = gradient(name, a, g, function)
    assert (s == gradient(name, a, symmetric(g), function)).all()
    assert error(s, s.swapaxes(-1, -2)) < 1e-13
    single = gradient(name, a.astype("float32"), g.astype("float32"), function)
    assert single.dtype == np.float32


@released
def test_a_list_says_what_is_released_and_how_ours_deviates(name):
    method = registry.lookup("backward", name)
    assert method.summary.startswith("The published layer's")
    assert method.inexact.startswith("as released: ")
    assert name.removesuffix("_released") in registry.known("backward")  # which the docstring names
    assert f"`{name.removesuffix('_released')}`" in method.call.__doc__
