"""Every norm bounds the largest eigenvalue, per matrix, at any scale and in any precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import UNIT, rotation, symmetric, with_spectrum

from mssbench import arrays
from mssbench.bounds import NORMS, normalized, power_of_four, upper_bound

norms = pytest.mark.parametrize("norm", NORMS)
TIGHT = ("wolkowicz_styan", "minc", "min_ws_minc")
DTYPES = {name: getattr(torch, name) for name in UNIT}
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@norms
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
    # Sums are rounded; the papers' norms carry no margin for it, so that they stay the papers'.
    assert (c[:, 0, 0] >= largest * (1 - 2 * UNIT[dtype])).all()
    if norm in TIGHT and dtype in ("float64", "float32"):
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
def test_basis_free_bounds_ignore_rotation_and_all_ignore_permutation(norm):
    a = with_spectrum([1.0, 0.5, 0.1, 0.01], batch=1)[0]
    order = [2, 0, 3, 1]
    assert upper_bound(a[np.ix_(order, order)], norm) == pytest.approx(
        upper_bound(a, norm), rel=1e-14
    )
    if "minc" not in norm:
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
