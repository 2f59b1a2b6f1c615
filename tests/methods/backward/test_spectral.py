"""Roots by decompositions and closed forms: their laws, and what happens where a library fails."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mssbench
from mssbench import arrays, problems
from mssbench.errors import InputError, Unsupported
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.methods import decomposition, method, registry
from mssbench.methods import pair as roots
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status
from mssbench.records.policy import Policy
from mssbench.testing.matrices import (
    UNIT,
    cotangent,
    error,
    exact_gradient,
    exact_root,
    root_and_gradient,
    rotation,
    symmetric,
    with_spectrum,
)

functions = pytest.mark.parametrize("function", method.FUNCTIONS)
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def root_of(a, forward, function="sqrt", **parameters):
    """The plain root, as the library of `a` has it."""
    return roots.pair(function, forward, None, tuple(sorted(parameters.items())))(a)


def gradient_of(a, g, forward, backward, function="sqrt"):
    pair = roots.pair(function, forward, backward)
    return root_and_gradient(pair, torch.tensor(a), torch.tensor(g))[1].numpy()


def perfect_squares(n, count=200, seed=0):
    """A = Y Y and Y, (count, n, n), exactly: Y positive definite and of small whole numbers."""
    x = np.random.default_rng(seed).integers(-40, 41, (count, n, n))
    y = np.abs(symmetric(x * 2.0)) + 200 * np.eye(n)
    w = np.linalg.eigvalsh(y)
    y = y[w[:, 0] > 0]
    return y @ y, y


# ---------------------------------------------------------------------------------- closed_form


@pytest.mark.parametrize("n", [2, 3])
@dtypes
def test_a_closed_form_finds_the_roots_of_perfect_squares(n, dtype):
    a, y = perfect_squares(n)
    u = UNIT[dtype]
    assert error(root_of(a.astype(dtype), "closed_form"), y) < 8 * u
    z = root_of(a.astype(dtype), "closed_form", "isqrt")
    assert error(z, np.linalg.inv(y)) < 40 * u


@pytest.mark.parametrize(
    "w",
    [
        (1, 0.9),
        (1, 1e-2),
        (1, 1),
        (1, 0.9, 0.8),
        (1, 0.1, 0.01),
        (1, 1, 1e-2),
        (1, 1e-2, 1e-2),
        (1, 1, 1),
        (1, 1 - 1e-7, 1 - 2e-7),
    ],
    ids=str,
)
@functions
@dtypes
def test_a_closed_form_is_as_good_as_a_decomposition(w, function, dtype):
    a = torch.tensor(with_spectrum(w, batch=50)).to(getattr(torch, dtype))
    g = torch.tensor(cotangent(a.shape)).to(a.dtype)
    y, s = root_and_gradient(roots.pair(function, "closed_form", "autodiff"), a, g)
    seen, u = a.double().numpy(), UNIT[dtype]
    assert error(y, exact_root(seen, function)) < 80 * u
    assert error(s, exact_gradient(seen, g.double().numpy(), function)) < 250 * u
    if dtype == "float32" and len(w) == 3:
        assert (
            error(y, exact_root(seen, function))
            < error(root_of(a, "eigh", function), exact_root(seen, function)) + 2 * u
        )


@pytest.mark.parametrize("w", [(1, 0), (1, 1, 0), (1, 1e-3, 0), (1, 0, 0), (1, 1e-12, 1e-20)])
@dtypes
def test_a_closed_form_keeps_half_the_digits_of_a_singular_matrix(w, dtype):
    a = with_spectrum(w, batch=200).astype(dtype)
    eigenvalues, v = np.linalg.eigh(a.astype("float64"))
    exact = (v * np.sqrt(eigenvalues.clip(0))[:, None]) @ v.swapaxes(-1, -2)
    assert error(root_of(a, "closed_form"), exact) < 4 * UNIT[dtype] ** 0.5
    diagonal = np.diag(w).astype(dtype)[None]  # nothing is rounded before we begin
    assert error(root_of(diagonal, "closed_form"), np.diag(np.sqrt(w))) < 2e-6


def test_newton_finds_the_first_invariant_of_any_spectrum():
    d = 10 ** np.random.default_rng(0).uniform(-8, 0, (20000, 3))
    d[:5000, 1], d[5000:9000, 2], d[:100] = d[:5000, 0], d[5000:9000, 1], 1.0
    a = np.zeros((len(d), 3, 3))
    a[:, range(3), range(3)] = d * d
    y = root_of(a, "closed_form")
    floor = 1e-15 + 1.5 * np.sqrt(2.0**-52)  # what rank 1 leaves is set to √u
    large = d.min(1) > 1e-7 * d.max(1)
    scaled = abs(y[:, range(3), range(3)] - d) / d.max(1, keepdims=True)
    assert scaled[large].max() < 2e-15
    assert scaled.max() < floor


@pytest.mark.parametrize("n", [2, 3])
@functions
def test_a_power_of_four_passes_through_a_closed_form_bit_for_bit(n, function):
    a = torch.tensor(with_spectrum([1.0, 0.3, 0.02][:n])).float()
    power = 1 if function == "sqrt" else -1
    y = root_of(a, "closed_form", function)
    for j in (-40, -7, 3, 50):
        assert torch.equal(root_of(a * 4.0**j, "closed_form", function), y * 2.0 ** (power * j))


def test_the_published_gradient_of_the_root_of_two_by_two():
    a, g = with_spectrum([2.0, 0.3], batch=1)[0], cotangent((2, 2))
    e, eye = np.sqrt(np.linalg.det(a)), np.eye(2)
    t = np.sqrt(np.trace(a) + 2 * e)
    adjugate = t * eye - exact_root(a, "sqrt")
    s = (e * g + adjugate @ g @ adjugate) / (2 * t * e)
    assert error(gradient_of(a, g, "closed_form", "autodiff"), s) < 1e-14


@pytest.mark.parametrize("n", [2, 3])
@dtypes
def test_a_zero_matrix_has_the_root_zero_and_no_inverse(n, dtype):
    a = np.zeros((n, n), dtype)
    assert not root_of(a, "closed_form").any()
    assert not np.isfinite(root_of(a, "closed_form", "isqrt")).all()


def test_a_closed_form_refuses_other_sizes():
    with pytest.raises(InputError, match=r"^forward 'closed_form' takes size 2 or 3, not 4\.$"):
        mssbench.sqrtm(np.eye(4), forward="closed_form")


# ----------------------------------------------------------------------------------- batched_qr


def hard_matrices(n):
    """Those that eigenvalue codes are tried on, (6, n, n)."""
    k = np.arange(n)
    second_difference = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    wilkinson = np.diag(n + abs(k - (n - 1) / 2)) + np.eye(n, k=1) + np.eye(n, k=-1)
    hilbert = 1 / (k[:, None] + k + 1) + 1e-6 * np.eye(n)
    ones = np.ones((n, n)) + 1e-3 * np.eye(n)
    graded = np.diag(10.0 ** -(k * 6 / n))
    split = np.kron(np.eye(n // 2), [[2.0, 1.0], [1.0, 2.0]])
    return np.stack([second_difference, wilkinson, hilbert, ones, graded + 1e-9 * ones, split])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("n", [4, 5, 8, 16, 32])
@dtypes
def test_batched_qr_is_as_good_as_lapack(n, dtype):
    x = np.random.default_rng(n).standard_normal((20, n, 4 * n))
    ties = with_spectrum(np.repeat([1.0, 0.5], [n // 2, n - n // 2]))
    easy = np.concatenate([x @ x.swapaxes(-1, -2) / (4 * n), ties, np.eye(n)[None] * 3])
    u = UNIT[dtype]
    for a, harder in ((easy, 1), (hard_matrices(n - n % 2), 1e4)):
        a = a.astype(dtype)
        seen = a.astype("float64")
        for function in method.FUNCTIONS:
            limit = 40 * u if function == "sqrt" else 80 * u
            y = root_of(a, "batched_qr", function)
            assert error(y, exact_root(seen, function)) < limit * harder
        root = registry.lookup("forward", "batched_qr").call(a, frozenset(["eigen"]))
        w, v = (x.astype("float64") for x in root.eigen)
        assert error((v * w[:, None]) @ v.swapaxes(-1, -2), seen) < 30 * u
        assert abs(v.swapaxes(-1, -2) @ v - np.eye(a.shape[-1])).max() < 30 * u
        assert (np.diff(w) >= 0).all()


@functions
def test_batched_qr_has_exact_roots_of_diagonal_matrices(function):
    power = 1 if function == "sqrt" else -1
    for w in ([4.0, 4.0, 4.0, 4.0], [1.0, 16.0, 0.25, 4.0], [9.0]):
        y = root_of(np.diag(w), "batched_qr", function)
        assert np.array_equal(y, np.diag(np.sqrt(w) ** power))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_batch_does_not_change_a_root_by_batched_qr(library):
    a = np.concatenate([hard_matrices(8), with_spectrum(np.geomspace(1, 1e-8, 8), batch=4) * 1e9])
    a = np.concatenate([a, np.full((1, 8, 8), np.nan), np.zeros((1, 8, 8))])
    whole = arrays.to_numpy(root_of(_as(a, library), "batched_qr"))
    assert np.isnan(whole[10]).all()
    assert not whole[11].any()
    for i in range(10):
        alone = arrays.to_numpy(root_of(_as(a[i : i + 1], library), "batched_qr"))[0]
        assert error(whole[i], alone) < 1e-14
        assert np.isfinite(alone).all()


def _as(a, library):
    return a if library == "numpy" else torch.tensor(a)


def test_more_sweeps_than_needed_turn_nothing():
    a = np.concatenate([with_spectrum(np.linspace(1, 2, 6), batch=20), np.eye(6)[None]])
    enough = root_of(a, "batched_qr")
    assert np.array_equal(root_of(a, "batched_qr", sweeps=60), enough)
    assert error(root_of(a, "batched_qr", sweeps=2), enough) > 1e-6


def test_deflation_in_the_middle_and_columns_whose_squares_vanish():
    a = with_spectrum([3.0, 2.0, 1.5, 1.0, 0.5, 0.2], batch=1)[0]
    for tiny in (0.0, 1e-18, 1e-161, 3e-162, 1e-170, 1e-300):
        b = a.copy()
        b[:3, 3:] *= tiny
        b[3:, :3] *= tiny
        assert error(root_of(b, "batched_qr"), exact_root(b, "sqrt")) < 1e-14
        v = registry.lookup("forward", "batched_qr").call(b, frozenset(["eigen"])).eigen[1]
        assert abs(v.T @ v - np.eye(6)).max() < 1e-14
    for tiny in (1e-18, 3e-23, 1e-25):
        c = (np.eye(4) + tiny * (1 - np.eye(4))).astype("float32")
        assert error(root_of(c, "batched_qr"), np.eye(4)) < 1e-6


def test_wilkinsons_shift_needs_eleven_sweeps_at_most_for_four_by_four():
    x = np.random.default_rng(0).standard_normal((5000, 4, 8))  # 10 in 100 000 of them
    a = x @ x.swapaxes(-1, -2)
    assert error(root_of(a, "batched_qr", sweeps=11), exact_root(a, "sqrt")) < 1e-12


def test_batched_qr_never_asks_the_device():
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero"), func
            return func(*args, **(kwargs or {}))

    a = torch.tensor(with_spectrum(np.linspace(1, 2, 5)))
    with Watch():
        root_of(a, "batched_qr")
    with Watch(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        a.sum().item()


def test_batched_qr_has_implicit_gradients_and_no_recorded_one():
    a, g = with_spectrum([1.0, 1.0, 0.5]), cotangent((3, 3, 3))
    for function in method.FUNCTIONS:
        s = gradient_of(a, g, "batched_qr", "loewner", function)
        assert error(s, exact_gradient(a, g, function)) < 1e-13
    said = "^autodiff differentiates the operations .* those of batched_qr: take backward loewner"
    with pytest.raises(InputError, match=said):
        mssbench.sqrtm(torch.eye(2), forward="batched_qr", backward="autodiff")


# --------------------------------------------------------------------------- scipy, newer torch


@functions
@dtypes
def test_schur_is_the_principal_root(function, dtype):
    a = with_spectrum(np.geomspace(1, 1e-2, 7), batch=4).astype(dtype).reshape(2, 2, 7, 7)
    y = root_of(a, "schur", function)
    assert y.dtype == a.dtype
    assert error(y, exact_root(a.astype("float64"), function)) < 60 * UNIT[dtype]


def test_schur_takes_a_negative_eigenvalue_for_zero():
    # SciPy's own result is complex for the first, and a warning for the others.
    assert np.array_equal(root_of(np.diag([4.0, -1e-17, 1.0]), "schur"), np.diag([2.0, 0.0, 1.0]))
    assert not np.isfinite(root_of(np.diag([4.0, 0.0]), "schur", "isqrt")).all()
    x = np.random.default_rng(0).standard_normal((5, 8, 4))
    a = x @ x.swapaxes(-1, -2)
    y = root_of(a, "schur")
    assert np.isrealobj(y)
    assert error(y @ y, a) < 1e-13
    assert error(y, root_of(a, "eigh")) < 1e-7


def test_schur_is_for_numpy_alone():
    with pytest.raises(InputError, match=r"^forward 'schur' takes numpy arrays, not torch\.$"):
        mssbench.sqrtm(torch.eye(2), forward="schur")


class TestMatrixSqrth:
    def test_a_torch_without_it_is_a_row_that_says_so(self, monkeypatch):
        monkeypatch.delattr(torch.linalg, "matrix_sqrth", raising=False)
        says = r"^torch \S+ has no linalg.matrix_sqrth, which came after 2.13: pip install --upgr"
        with pytest.raises(InputError, match=says):
            mssbench.sqrtm(torch.eye(2), forward="matrix_sqrth")
        cell = Cell(
            library="torch",
            forward="matrix_sqrth",
            backward="none",
            function="sqrt",
            problem=problems.canonical("wishart"),
            size=4,
            batch=2,
            iterations=None,
            backward_iterations=None,
            options="",
            precision="float64",
            device="cpu",
            seed=0,
        )
        for row in measure(cell, Session(Settings(Policy(max_seconds=0.05)))).measurements:
            assert row.status is Status.UNSUPPORTED
            assert row.reason.endswith("pip install --upgrade torch")

    def test_a_torch_with_it_is_called(self, monkeypatch):
        def matrix_sqrth(a):
            return mssbench.sqrtm((a + a.mT) / 2, forward="eigh", backward="loewner")

        monkeypatch.setattr(torch.linalg, "matrix_sqrth", matrix_sqrth, raising=False)
        a, g = with_spectrum([1.0, 1.0, 0.5]), cotangent((3, 3, 3))
        assert error(root_of(torch.tensor(a), "matrix_sqrth"), exact_root(a, "sqrt")) < 1e-14
        s = gradient_of(a, g, "matrix_sqrth", "autodiff")  # its own
        assert error(s, exact_gradient(a, g, "sqrt")) < 1e-13


# ------------------------------------------------------- transforms of global covariance pooling


def test_svpn_divides_by_the_root_of_the_largest_eigenvalue():
    w = np.array([4.0, 1.0, 0.3, 0.1])
    a = with_spectrum(w)
    exact = a / np.sqrt(w[0])
    errors = [error(root_of(a, "power_iteration", iterations=k), exact) for k in (0, 1, 2, 4, 12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-13
    for k in range(4):  # from below: the result is too large
        y = root_of(a, "power_iteration", iterations=k)
        assert (np.linalg.norm(y, axis=(1, 2)) >= np.linalg.norm(exact, axis=(1, 2))).all()


def test_svpn_is_the_released_computation():
    a = with_spectrum([4.0, 1.0, 0.3, 0.1], batch=1)[0]
    v = np.ones(4)
    u = a @ v / np.linalg.norm(a @ v)
    v = a @ u / np.linalg.norm(a @ u)
    sigma = u @ a @ v
    rest = a - sigma * np.outer(u, v)
    y = np.sqrt(sigma) * np.outer(u, v) + rest / np.sqrt(sigma)
    assert error(root_of(a, "power_iteration"), y) < 1e-14


def test_svpn_is_exact_for_multiples_of_projections_and_follows_permutations():
    q = rotation(5)[:, :2]
    assert error(root_of(3 * q @ q.T, "power_iteration"), np.sqrt(3) * q @ q.T) < 1e-14
    a, order = with_spectrum([4.0, 1.0, 0.3, 0.1], batch=1)[0], [2, 0, 3, 1]
    permuted = root_of(a[np.ix_(order, order)], "power_iteration")
    assert error(permuted, root_of(a, "power_iteration")[np.ix_(order, order)]) < 1e-14
    assert not root_of(np.zeros((2, 2)), "power_iteration").any()
    nothing = root_of(np.array([[1.0, -1.0], [-1.0, 1.0]]), "power_iteration")  # A v = 0
    assert not np.isfinite(nothing).any()


@pytest.mark.parametrize("drop", [0, 1, 3])
def test_truncation_sets_the_smallest_eigenvalues_to_the_unit_of_the_largest(drop):
    w, v = np.array([4.0, 1.0, 0.3, 0.1]), rotation(4)
    kept = np.where(np.arange(4) < 4 - drop, w, 2.0**-52 * 4)
    a = symmetric((v * w) @ v.T)
    y = root_of(a, "gcp_truncate", drop=drop)
    assert error(y, (v * np.sqrt(kept)) @ v.T) < 1e-13
    for scale in (4.0**-45, 4.0**30):  # the released code's 1e-16 is no unit of these
        assert error(root_of(a * scale, "gcp_truncate", drop=drop), y * np.sqrt(scale)) < 1e-13


def test_truncation_of_everything_is_refused():
    with pytest.raises(
        InputError, match=r"^drop = 4 leaves none of the 4 eigenvalues of a matrix\.$"
    ):
        mssbench.sqrtm(np.eye(4), forward="gcp_truncate", drop=4)
    with pytest.raises(Unsupported):
        root_of(np.eye(3), "gcp_truncate", drop=50)


def test_what_is_dropped_has_no_gradient():
    a, g = np.diag([4.0, 1.0, 0.25]), np.eye(3)
    s = gradient_of(a, g, "gcp_truncate", "autodiff")
    assert np.diag(s) == pytest.approx([0.25, 0.5, 0.0], abs=1e-7)


def test_the_scaling_eigen_branch_is_the_released_computation():
    a = with_spectrum([1.4, 0.7, 0.2, 0.01])
    w, v = np.linalg.eigh(a)
    vt = v.swapaxes(-1, -2)
    y = (v * np.sqrt(w)[:, None]) @ vt
    m = y @ ((v * np.exp(-w)[:, None]) @ vt).swapaxes(-1, -2)
    unit = m / np.linalg.norm(m, axis=(1, 2), keepdims=True)
    assert error(root_of(a, "gcp_seb"), y * (m / unit) + y) < 1e-13  # entry by entry, as released


# ------------------------------------------------------------- where a decomposition gives up


def stubborn(monkeypatch, fails, library=torch):
    """Replace eigh: `fails(a)` raises what LAPACK would, or returns what to return."""
    real, calls = library.linalg.eigh, []

    def eigh(a):
        calls.append((arrays.dtype_name(a), tuple(a.shape)))
        spoilt = fails(a, real)
        return real(a) if spoilt is None else spoilt

    monkeypatch.setattr(library.linalg, "eigh", eigh)
    return calls


def _marked(a):
    return arrays.dtype_name(a) == "float32" and bool((a[..., 0, 0] > 100).any())


@pytest.mark.parametrize("library", [torch, np], ids=["torch", "numpy"])
def test_a_matrix_that_does_not_converge_is_decomposed_in_float64(library, monkeypatch):
    a = with_spectrum(np.linspace(1, 2, 4), batch=3)
    a[1] *= 1000
    a = _as(a.astype("float32"), library.__name__)

    def fails(a, real):
        if _marked(a):
            raise library.linalg.LinAlgError("the algorithm failed to converge")

    expected = arrays.to_numpy(root_of(a, "eigh"))
    calls = stubborn(monkeypatch, fails, library)
    y = root_of(a, "eigh")
    assert arrays.dtype_name(y) == "float32"
    assert error(y, expected) < 1e-6
    one = (4, 4)
    assert calls == [
        ("float32", (3, 4, 4)),
        ("float32", one),
        ("float32", one),
        ("float64", one),
        ("float32", one),
    ]


def test_a_nan_of_a_finite_matrix_is_decomposed_in_float64(monkeypatch):
    n = 30  # only beyond 25 does LAPACK divide
    a = torch.tensor(with_spectrum(np.linspace(1, 2, n), batch=3)).float()
    a[1] *= 1000

    def fails(a, real):
        if _marked(a):
            w, v = real(a)
            w[..., 7] = math.nan
            return w, v * math.nan
        return None

    expected = arrays.to_numpy(root_of(a, "eigh"))
    calls = stubborn(monkeypatch, fails)
    g = torch.tensor(cotangent(a.shape)).float()
    y, s = root_and_gradient(roots.pair("sqrt", "eigh", "autodiff"), a, g)
    assert [kind for kind, _ in calls] == ["float32"] * 3 + ["float64", "float32"]
    assert error(y, expected) < 1e-6
    exact = exact_gradient(a.double().numpy(), g.double().numpy(), "sqrt")
    assert error(s, exact) < 1e-3


def test_what_fails_in_float64_too_is_the_librarys_error(monkeypatch):
    def fails(a, real):
        raise torch.linalg.LinAlgError("no")

    calls = stubborn(monkeypatch, fails)
    for dtype in (torch.float64, torch.float32):
        with pytest.raises(torch.linalg.LinAlgError, match=r"^no$"):
            root_of(torch.eye(3, dtype=dtype)[None], "eigh")
    assert len(calls) == 2 + 3
    nan = np.full((2, 2), np.nan)
    monkeypatch.undo()
    assert np.isnan(root_of(nan, "eigh")).all()


@pytest.mark.parametrize("scale", [1, 0.5, 2, 1e-3, 10])
def test_the_pinned_matrix_of_dead_channels_has_a_root(scale):
    problem = problems.make("pinned(matrix=eigh_nonconv_64)", 64, 1, 0)
    a = (problems.cast(problem.master, "float32") * scale).astype("float32")
    _require_right_roots(a)


def test_covariances_with_many_dead_channels_have_roots_though_mkl_gives_up_on_half_of_them():
    n, random = 128, np.random.default_rng(0)
    x = random.standard_normal((6, n, 4 * n)).clip(0)
    for features in x:
        features[random.permutation(n)[:96]] = 0
    _require_right_roots((x @ x.swapaxes(-1, -2) / (4 * n)).astype("float32"))


def _require_right_roots(a):
    a = torch.tensor(a)
    w, v = torch.linalg.eigh(a.double())
    exact = (v * w.clip(0).sqrt()[:, None]) @ v.mT
    for forward in ("eigh", "svd"):
        y = root_of(a, forward).double()
        assert error(y, exact.numpy()) < 3e-3  # √u, of null directions
        assert error(y @ y, a.numpy()) < 3e-6


def test_on_a_gpu_a_large_batch_is_taken_in_chunks_and_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(decomposition, "_on_gpu", lambda a: True)
    monkeypatch.setattr(decomposition, "_MOST", 4)
    monkeypatch.setattr(decomposition, "_finite", None)  # to call it is an error
    n = 30
    a = torch.tensor(with_spectrum(np.linspace(1, 2, n), batch=10)).float().reshape(2, 5, n, n)
    exact = exact_root(a.double().numpy(), "sqrt")
    calls = stubborn(monkeypatch, lambda a, real: None)
    assert error(root_of(a, "eigh"), exact) < 1e-5
    assert [shape for _, shape in calls] == [(4, n, n), (4, n, n), (2, n, n)]
    assert error(root_of(a, "svd"), exact) < 1e-5
    w, v = decomposition.eigh(a)
    assert (w.shape, v.shape) == ((2, 5, n), (2, 5, n, n))


def test_on_a_cpu_a_batch_stays_whole(monkeypatch):
    monkeypatch.setattr(decomposition, "_MOST", 4)
    calls = stubborn(monkeypatch, lambda a, real: None)
    decomposition.eigh(torch.eye(3).expand(10, 3, 3))
    assert calls == [("float32", (10, 3, 3))]
