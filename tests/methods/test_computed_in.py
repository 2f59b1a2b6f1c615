"""In which precision methods really compute: by experiment, and against what they declare."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import torch
from helpers.matrices import METHODS, ON_CPU
from torch.utils._python_dispatch import TorchDispatchMode

from mssbench import arrays
from mssbench.errors import NotInstalled, Unsupported
from mssbench.methods import pair, registry
from mssbench.methods.method import FUNCTIONS, Root

PEERS = ("geoopt", "linear_operator_ciq", "ott_jax", "pot", "pyriemann", "spd_learn")
SIZE = 48
# They leave out or level the 50 smallest eigenvalues.
LONG_TAILS = {"gcp_truncate", "gcp_truncate_released", "svd_topn", "svd_topn_released"}


@cache
def ill_conditioned():
    """Of condition 1e6, float32: what LAPACK does in float32 shows: it grows by as much."""
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((SIZE, SIZE)))
    a = (q * np.logspace(0, -6, SIZE)) @ q.T
    return ((a + a.T) / 2).astype("float32")


def error(x, right):
    """Relative, in the Frobenius norm."""
    x = np.asarray(x, dtype="float64")
    return np.linalg.norm(x - right) / np.linalg.norm(right)


# --------------------------------------------------------------------- what libraries compute in

# For each function: a number or matrix of it in which rounding is amplified by the condition.
SENSITIVE = {
    "eigh": lambda linalg, a: linalg.eigh(a)[0][0],
    "eigvalsh": lambda linalg, a: linalg.eigvalsh(a)[0],
    "svd": lambda linalg, a: linalg.svd(a)[1][-1],
    "inv": lambda linalg, a: linalg.inv(a),
}
IN_DOUBLE = {*SENSITIVE, "solve", "slogdet"}  # in NumPy


@pytest.mark.parametrize("name", SENSITIVE)
def test_numpy_computes_float32_in_float64(name):
    """Rounding to float32 at the end is all that is lost: 3e-8 of the smallest eigenvalue."""
    a = ill_conditioned()
    right = SENSITIVE[name](np.linalg, a.astype("float64"))
    found = SENSITIVE[name](np.linalg, a)
    assert found.dtype == np.float32
    assert error(found, right) < 1e-7


def test_numpy_solves_and_takes_determinants_in_float64():
    a = ill_conditioned()
    eye = np.eye(SIZE, dtype="float32")
    assert error(np.linalg.solve(a, eye), np.linalg.inv(a.astype("float64"))) < 1e-7
    right = np.linalg.slogdet(a.astype("float64"))[1]
    assert abs(np.linalg.slogdet(a)[1] / right - 1) < 1e-7


@pytest.mark.parametrize("name", SENSITIVE)
def test_torch_computes_float32_in_float32(name):
    a = ill_conditioned()
    right = SENSITIVE[name](np.linalg, a.astype("float64"))
    assert error(SENSITIVE[name](torch.linalg, torch.tensor(a)), right) > 1e-4


def test_scipy_computes_float32_in_float32():
    linalg = pytest.importorskip("scipy.linalg")
    a = ill_conditioned()
    right = np.linalg.eigvalsh(a.astype("float64"))[0]
    assert error(linalg.eigh(a)[0][0], right) > 1e-4
    root = linalg.sqrtm(a.astype("float64"))
    assert error(linalg.sqrtm(a).real, root) > 1e-6  # 6e-6; rounded from float64 it were 3e-8
    assert error(linalg.inv(a), np.linalg.inv(a.astype("float64"))) > 1e-4


def test_products_of_float32_are_float32_whatever_the_user_has_set():
    """TF32 and oneDNN's bfloat16 are a setting of the process; the rule of a row overrides it."""
    from mssbench.measure.libraries import product_rule

    x = np.random.default_rng(1).standard_normal((256, 256)).astype("float32")
    right = x.astype("float64") @ x
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with product_rule("float32"):
            assert torch.backends.mkldnn.matmul.fp32_precision in ("ieee", "none")
            assert not torch.backends.cuda.matmul.allow_tf32
            assert error(torch.tensor(x) @ torch.tensor(x), right) < 1e-6
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_cupy_that_multiplies_in_tf32_is_refused(monkeypatch):
    from mssbench.measure.libraries import check_cupy_products

    monkeypatch.setenv("CUPY_TF32", "1")
    with pytest.raises(Unsupported, match="CUPY_TF32 is set"):
        check_cupy_products()
    for value in ("0", ""):
        monkeypatch.setenv("CUPY_TF32", value)
        check_cupy_products()


# ---------------------------------------------------------------------- what methods say of it


@contextmanager
def numpy_watched() -> Iterator[set[str]]:
    """The names of the functions of numpy.linalg that are called, but for norms."""
    called: set[str] = set()

    def watched(name, function):
        def call(*args, **kwargs):
            called.add(name)
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name, function in vars(np.linalg).copy().items():
            if callable(function) and not inspect.isclass(function) and "norm" not in name:
                patch.setattr(np.linalg, name, watched(name, function))
        yield called


class DoubleWatch(TorchDispatchMode):
    """The operations of torch that give float64, but for numbers that only come from the host."""

    def __init__(self):
        super().__init__()
        self.called = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        parts = out if isinstance(out, tuple | list) else (out,)
        if any(isinstance(x, torch.Tensor) and x.dtype == torch.float64 for x in parts):
            self.called |= {str(function)} - {"aten.lift_fresh.default"}
        return out


@cache
def known(n):
    """Two matrices with their eigenpairs, float64."""
    x = np.random.default_rng(2).standard_normal((2, n, 3 * n))
    a = x @ x.swapaxes(1, 2) / n
    return a, *np.linalg.eigh(a)


def matrices(method, library):
    n = 64 if method.name in LONG_TAILS else method.sizes[-1] if method.sizes else 4
    a, *_ = known(n)
    return arrays.from_numpy(a, like=arrays.empty(library, "cpu", "float32"))


def used(method, library):
    """What the method calls that computes in float64, for float32 matrices."""
    a = matrices(method, library)
    if library == "numpy":
        with numpy_watched() as called, np.errstate(all="ignore"):  # as a pair calls it
            call(method, a)
        assert called <= IN_DOUBLE, "find out by experiment in which precision these compute"
        return called
    with DoubleWatch() as watch:
        call(method, a)
    return watch.called


def call(method, a):
    parameters = method.complete({})
    if method.kind == "forward":
        for function in method.functions:
            method.call(a, frozenset({function}), **parameters)
        return
    w, v = eigenpairs(a)
    vt, d = arrays.transpose(v), w[..., None, :] ** 0.5
    given = {"sqrt": (v * d) @ vt, "isqrt": (v / d) @ vt}
    if method.only:
        given["eigen"] = (w, v)
    if "differential" in method.fields:
        given["differential"] = (v, a, w, w)
    for function in FUNCTIONS:
        method.call(Root(**given), function, a, **parameters)


def eigenpairs(a):
    """Those of `matrices`, in their precision; found before anybody watches."""
    _, w, v = known(a.shape[-1])
    return arrays.from_numpy(w, like=a), arrays.from_numpy(v, like=a)


def named_methods():
    own = [m for m in METHODS if not m.devices and not m.recorded and m.kind == "backward"]
    for m in [*ON_CPU, *own]:
        if "iterates" in m.fields and m.kind == "backward":
            continue  # it goes back through the products of a forward
        for library in m.libraries:
            if library != "cupy" and "float32" in m.precisions:
                yield pytest.param(m.kind, m.name, library, id=f"{library}-{m.kind}-{m.name}")
    for name in PEERS:
        yield pytest.param("forward", name, "torch", id=f"torch-forward-{name}")
    yield pytest.param("forward", "pyriemann", "numpy", id="numpy-forward-pyriemann")


@pytest.mark.sampled(15)
@pytest.mark.parametrize(("kind", "name", "library"), list(named_methods()))
def test_a_method_declares_the_precision_that_it_computes_in(kind, name, library):
    """Both ways: a declaration that is missing fails, and one that is wrong."""
    try:
        method = registry.lookup(kind, name)
        registry.import_package(method)
        found = used(method, library)
    except (NotInstalled, Unsupported) as reason:
        pytest.skip(str(reason))
    declared = method.computes_in(library, "float32")
    assert declared == ("float64" if found else ""), found
    assert method.computes_in(library, "float64") == ""


@pytest.mark.parametrize(
    ("forward", "backward", "library", "precision", "wider"),
    [
        ("eigh", "loewner", "numpy", "float32", "float64"),
        ("eigh", "loewner", "numpy", "float64", ""),
        ("eigh", "loewner", "torch", "float32", ""),
        ("newton_schulz", None, "numpy", "float32", ""),
        ("newton_schulz", "loewner", "numpy", "float32", "float64"),  # it decomposes the root
        ("batched_qr", "loewner", "numpy", "float32", ""),  # it reads eigenpairs of float32
        ("newton_schulz", "lyapunov_minimax", "numpy", "float32", ""),
        ("newton_schulz", "kronecker", "numpy", "float32", "float64"),
    ],
)
def test_a_pair_says_what_its_methods_compute_in(forward, backward, library, precision, wider):
    assert pair.pair("sqrt", forward, backward).computes_in(library, precision) == wider
