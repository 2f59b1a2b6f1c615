"""Every norm bounds the largest eigenvalue, per matrix, at any scale and in any precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mssbench import arrays
from mssbench.methods.norms import NORMS, normalized, power_of_four, products, upper_bound
from mssbench.testing.matrices import UNIT, rotation, symmetric, with_spectrum

norms = pytest.mark.parametrize("norm", NORMS)
TIGHT = ("wolkowicz_styan", "minc", "min_ws_minc")
# Sums are rounded; the papers' norms carry no margin for it, so that they stay the papers'.
GUARDED = (*TIGHT, "inf", "frob2", "frob4")
# Power iteration depends on its start vector: a margin, no proof.
CERTAIN = [norm for norm in NORMS if norm != "power"]
OF_THE_BASIS = ("minc", "min_ws_minc", "inf", "power")
DTYPES = {name: getattr(torch, name) for name in UNIT}
quick = settings(max_examples=60)


@pytest.mark.parametrize("norm", CERTAIN)
@quick
@given(
    n=st.integers(1, 12),
    condition=st.floats(0, 8),
    rank=st.floats(0.1, 1),
    seed=st.integers(0, 20),
    dtype=st.sampled_from(sorted(DTYPES)),
)
def test_a_norm_is_never_below_the_largest_eigenvalue(norm, n, condition, rank, seed, dtype):
    w = np.logspace(0, -condition, n)
    w[max(1, round(rank * n)) :] = 0
    a = torch.tensor(with_spectrum(w, batch=2, seed=seed)).to(DTYPES[dtype])
    a = a / power_of_four(a)  # as the iterations see it
    largest = np.linalg.eigvalsh(arrays.to_numpy(a))[:, -1]
    c = arrays.to_numpy(upper_bound(a, norm))
    assert c.shape == (2, 1, 1)
    assert (c[:, 0, 0] >= largest * (1 - 2 * UNIT[dtype])).all()
    if norm in GUARDED and dtype in ("float64", "float32"):
        assert (c[:, 0, 0] >= largest).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_tight_norms_are_exact_for_multiples_of_the_identity(dtype, n):
    a = 3 * torch.eye(n, dtype=DTYPES[dtype])[None]
    for norm in TIGHT:
        excess = upper_bound(a, norm).item() / 3 - 1
        assert 0 <= excess <= 8 * UNIT[dtype], norm


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_wolkowicz_styan_does_not_cancel_near_the_identity(dtype):
    # mean² and the mean of squares agree to all digits here, though the spread does not vanish.
    spread = 8 * UNIT[dtype]
    a = torch.diag(torch.tensor([1 + spread] + [1.0] * 63)).to(DTYPES[dtype])[None]
    c = upper_bound(a, "wolkowicz_styan").item()
    assert 1 + spread <= c <= (1 + spread) * (1 + 8 * UNIT[dtype])


def test_wolkowicz_styan_and_frobenius_are_exact_for_rank_one():
    x = np.random.default_rng(0).standard_normal((3, 9))
    a = x[:, :, None] * x[:, None, :]
    largest = (x * x).sum(-1)
    for norm in ("trace", "frobenius", "wolkowicz_styan"):
        assert upper_bound(a, norm)[:, 0, 0] == pytest.approx(largest, rel=1e-13)


def test_minc_is_exact_for_equal_row_sums_and_at_most_the_largest_row_sum():
    circulant = symmetric(np.array([np.roll([4.0, 1, 0, 1], i) for i in range(4)]))
    assert upper_bound(circulant, "minc").item() == pytest.approx(6.0, rel=1e-14)
    a = with_spectrum(np.geomspace(1, 1e-3, 8))
    assert (upper_bound(a, "minc")[:, 0, 0] <= abs(a).sum(-1).max(-1) * (1 + 1e-14)).all()


def test_the_order_of_the_bounds_is_that_of_the_literature():
    a = with_spectrum(np.geomspace(1, 1e-3, 8))
    c = {norm: upper_bound(a, norm) for norm in NORMS}
    assert (c["wolkowicz_styan"] <= c["frobenius"]).all()
    assert (c["frobenius"] <= c["trace"]).all()
    assert (c["min_ws_minc"] == np.minimum(c["wolkowicz_styan"], c["minc"])).all()


def test_powers_of_the_matrix_tighten_the_frobenius_norm():
    w = np.geomspace(1, 1e-3, 8)
    a = with_spectrum(w)
    for norm, power in (("frobenius", 2), ("frob2", 4), ("frob4", 8)):
        c = upper_bound(a, norm)[:, 0, 0]
        assert c == pytest.approx(np.full(3, (w**power).sum() ** (1 / power)), rel=1e-14), norm
    assert products("frob2") == 1
    assert products("frob4") == 2
    assert not any(products(norm) for norm in NORMS if norm not in ("frob2", "frob4"))


def test_inf_is_the_largest_row_sum():
    a = np.array([[2.0, -1.0], [-1.0, 3.0]])
    assert upper_bound(a, "inf").item() == pytest.approx(4.0, rel=1e-14)


def covariances(n, seed=0):
    """Matrices of the kinds that the margin of power iteration was measured on, w_max = 1."""
    rng = np.random.default_rng(seed)
    features = [
        rng.standard_normal((n, 2 * n)),
        rng.standard_normal((n, 64 * n)),
        rng.standard_normal((n, n // 4)),
        rng.standard_normal((n, 4 * n)).clip(0),
    ]
    made = [x @ x.T for x in features]
    made += [with_spectrum(np.geomspace(1, 1e-6, n), 1)[0]]
    made += [with_spectrum(np.arange(1.0, n + 1) ** -1, 1)[0]]
    return [a / np.linalg.eigvalsh(a)[-1] for a in made]


@pytest.mark.parametrize("n", [8, 16, 64, 256])
def test_power_iteration_with_its_margin_is_above_the_largest_eigenvalue_and_near_it(n):
    for seed in range(3):
        for kind, a in enumerate(covariances(n, seed)):
            assert 1 <= upper_bound(a, "power").item() <= 1.4 * (1 + 1e-12), kind


def test_power_iteration_never_exceeds_the_frobenius_norm():
    x = np.random.default_rng(0).standard_normal((3, 9))
    a = x[:, :, None] * x[:, None, :]
    assert upper_bound(a, "power") == pytest.approx(upper_bound(a, "frobenius"), rel=1e-14)


@norms
def test_zero_rows_do_not_disturb_a_bound(norm):
    block = with_spectrum([2.0, 1.0, 0.5], batch=1)[0]
    a = np.zeros((5, 5))
    a[np.ix_([0, 2, 3], [0, 2, 3])] = block
    c = upper_bound(a, norm).item()
    assert 2.0 * (1 - 1e-14) <= c <= 3.5 * (1 + 1e-14)


@norms
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_zero_matrix_is_divided_by_one_and_multiplied_by_zero(norm, library):
    a = arrays.from_numpy(np.zeros((2, 3, 3)), like=arrays.empty(library, "cpu", "float32"))
    assert (arrays.to_numpy(upper_bound(a, norm)) == 1).all()
    assert (arrays.to_numpy(power_of_four(a)) == 1).all()
    x, root = normalized(a, norm)
    assert not arrays.to_numpy(x).any()
    assert not arrays.to_numpy(root).any()


@norms
def test_a_bound_is_taken_per_matrix(norm):
    a = with_spectrum([1.0, 0.5, 0.1]) * np.array([1.0, 1e8, 1e-8])[:, None, None]
    alone = np.stack([upper_bound(x, norm) for x in a])
    assert upper_bound(a, norm) == pytest.approx(alone, rel=1e-14)


@norms
def test_basis_free_bounds_ignore_rotation_and_most_ignore_permutation(norm):
    a = with_spectrum([1.0, 0.5, 0.1, 0.01], batch=1)[0]
    order = [2, 0, 3, 1]
    if norm != "power":  # its start vector does not turn with the matrix
        assert upper_bound(a[np.ix_(order, order)], norm) == pytest.approx(
            upper_bound(a, norm), rel=1e-14
        )
    if norm not in OF_THE_BASIS:
        q = rotation(4, seed=5)
        assert upper_bound(q @ a @ q.T, norm) == pytest.approx(upper_bound(a, norm), rel=1e-13)


# ----------------------------------------------------------------------------- the power of four

LIBRARIES = [("torch", p) for p in DTYPES] + [("numpy", "float64"), ("numpy", "float32")]


@pytest.mark.parametrize(("library", "dtype"), LIBRARIES, ids=lambda x: x)
def test_the_power_of_four_is_exact_over_the_whole_range(library, dtype):
    info = torch.finfo(DTYPES[dtype])
    low, high = np.log2(info.tiny), np.log2(info.max)
    like = arrays.empty(library, "cpu", dtype)
    for exponent in np.arange(np.ceil(low), np.floor(high)):
        for mantissa in (1.0, 1.5, 2 - 2 * info.eps):
            largest = arrays.from_numpy(np.full((1, 1, 1), mantissa * 2.0**exponent), like=like)
            p = power_of_four(largest)
            assert p.dtype == like.dtype
            mantissa_of_p, exponent_of_p = np.frexp(arrays.to_numpy(p).item())
            assert mantissa_of_p == 0.5
            assert exponent_of_p % 2 == 1, "an even power of 2 is a power of 4"
            assert 1 <= arrays.to_numpy(largest / p).item() < 4


@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize("scale", [1e30, 1e-30], ids=["1e30", "1e-30"])
@norms
def test_normalizing_neither_overflows_nor_vanishes_in_float32(library, scale, norm):
    like = arrays.empty(library, "cpu", "float32")
    a = with_spectrum([1.0, 0.5, 0.25])
    x, root = normalized(arrays.from_numpy(a * scale, like=like), norm)
    y, plain = normalized(arrays.from_numpy(a, like=like), norm)
    assert arrays.to_numpy(x) == pytest.approx(arrays.to_numpy(y), rel=1e-5, abs=1e-6)
    assert arrays.to_numpy(root) == pytest.approx(arrays.to_numpy(plain) * scale**0.5, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@norms
def test_a_large_matrix_of_large_entries_does_not_overflow_half_precision(dtype, norm):
    a = torch.full((1, 256, 256), 48000.0, dtype=DTYPES[dtype])  # rank one: λ = n times the entry
    x, root = normalized(a, norm)
    assert torch.isfinite(x).all()
    assert root.item() ** 2 == pytest.approx(256 * 48000, rel=0.1)


def test_squares_of_the_power_law_are_undone_by_the_scale():
    for j in range(-8, 11):
        a = torch.tensor(with_spectrum([1.0, 0.5, 0.25]))
        assert torch.equal(power_of_four(a * 4.0**j), power_of_four(a) * 4.0**j)


# -------------------------------------------------------------------------------------- gradient


@norms
def test_only_the_norms_of_the_papers_stay_in_the_graph(norm):
    a = torch.tensor(with_spectrum([1.0, 0.5, 0.25]), requires_grad=True)
    assert upper_bound(a, norm).requires_grad == (norm in ("trace", "frobenius"))
    assert not power_of_four(a).requires_grad


def test_the_gradients_of_the_norms_in_the_graph_are_the_textbook_ones():
    x = torch.tensor(with_spectrum([1.0, 0.5, 0.25]))
    a = x.clone().requires_grad_()
    (s,) = torch.autograd.grad(upper_bound(a, "trace").sum(), a)
    assert torch.equal(s, torch.eye(3, dtype=s.dtype).expand_as(s))
    (s,) = torch.autograd.grad(upper_bound(a, "frobenius").sum(), a)
    assert torch.allclose(s, x / upper_bound(x, "frobenius"), rtol=1e-14, atol=0)
