"""Other libraries' roots through the real harness: right where they are, and their defects rows."""

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from helpers.tables import called

import mssbench
from mssbench import problems, registries
from mssbench.cli import listing
from mssbench.errors import NotInstalled, RegistryError, Unsupported
from mssbench.machine import facts
from mssbench.measure import code_hash
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.methods import pair, registry
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status
from mssbench.records.policy import Policy
from mssbench.suite import suite
from mssbench.testing.matrices import (
    cotangent,
    error,
    exact_gradient,
    exact_root,
    spectrum,
    with_spectrum,
)

# What our warnings-as-errors would stop in other people's modules: torch deprecates TorchScript,
# which geoopt and linear_operator use; JAX deprecates how OTT asks for triangular solves.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:jax.scipy.linalg.solve_triangular:FutureWarning"),
]

PACKAGES = {
    "geoopt": "geoopt",
    "linear_operator_ciq": "linear_operator",
    "ott_jax": "ott",
    "pot": "ot",
    "pyriemann": "pyriemann",
    "spd_learn": "spd_learn",
}
LIBRARIES = {"geoopt", "jax", "linear_operator", "ot", "ott", "pyriemann", "spd_learn"}
FAST = Session(
    Settings(Policy(min_seconds=0, min_samples=2, max_seconds=0.05, warmup_seconds=0, interval=1))
)


def peers(*names):
    """Parametrise `peer`; those whose library is not installed are skipped."""
    return pytest.mark.parametrize(
        "peer",
        [
            pytest.param(
                name,
                marks=pytest.mark.skipif(
                    find_spec(PACKAGES[name]) is None, reason=f"{PACKAGES[name]} is not installed"
                ),
            )
            for name in names or PACKAGES
        ],
    )


def step(peer, problem, *, function="sqrt", backward="autodiff", precision="float32"):
    """The step row of a peer with the gradient its user gets."""
    cell = Cell(
        library="torch",
        forward=peer,
        backward=backward,
        function=function,
        problem=problems.canonical(problem),
        size=32,
        batch=3,
        iterations=None,
        backward_iterations=None,
        options="",
        precision=precision,
        device="cpu",
        seed=0,
    )
    return measure(cell, FAST).measurements[-1]


def functions(peer):
    return registry.lookup("forward", peer).functions


# ------------------------------------------------------------------------------- right answers


@pytest.mark.sampled(1)
@peers()
def test_root_and_gradient_are_right_at_condition_100(peer):
    root, gradient = (1e-3, 3e-3) if peer == "linear_operator_ciq" else (1e-5, 2e-5)
    for function in functions(peer):
        found = step(peer, "logspec(condition=1e2)", function=function)
        assert found.status is Status.OK, found.reason
        assert found.values["root_error"] < root
        assert found.values["gradient_error"] < gradient
        assert found.values["saved_bytes"] > 0


@peers("geoopt", "pot", "pyriemann", "spd_learn")
def test_float64_is_computed_in_float64(peer):
    for function in functions(peer):
        found = step(peer, "logspec(condition=1e2)", function=function, precision="float64")
        assert found.values["root_error"] < 1e-13, found
        assert found.values["gradient_error"] < 1e-12


@peers()
def test_a_peer_takes_a_batch_of_any_shape_and_leaves_it_alone(peer):
    method = registry.lookup("forward", peer)
    x = with_spectrum(spectrum("near_one", 4), batch=6).astype(np.float32)
    for shape in ((6, 4, 4), (1, 4, 4), (2, 3, 4, 4)):
        for function in functions(peer):
            a = torch.tensor(x[: np.prod(shape[:-2])].reshape(shape), requires_grad=True)
            before = a.detach().clone()
            g = torch.tensor(cotangent(shape), dtype=torch.float32)
            root = {"sqrt": mssbench.sqrtm, "isqrt": mssbench.isqrtm}[function]
            y = root(a, forward=peer, backward="autodiff")
            y.backward(g)
            seen = before.double().numpy()
            exact = exact_gradient(seen, g.double().numpy(), function)
            assert (y.shape, y.dtype) == (a.shape, a.dtype)
            assert error(y, exact_root(seen, function)) < 1e-4
            assert error(a.grad, exact) < 3e-4
            assert torch.equal(a.detach(), before)
            (other,) = {"sqrt", "isqrt"} - {function}
            assert getattr(method.call(before, frozenset([function])), other) is None


@peers("pyriemann")
def test_pyriemann_takes_numpy_too(peer):
    a = with_spectrum(spectrum("condition_100", 8))
    assert error(mssbench.sqrtm(a, forward=peer), exact_root(a, "sqrt")) < 1e-13
    assert error(mssbench.isqrtm(a, forward=peer), exact_root(a, "isqrt")) < 1e-13


# ------------------------------------------------------------------ known defects, seen as rows


@peers("geoopt", "pyriemann")
def test_autograd_through_eigh_is_nonfinite_at_equal_eigenvalues(peer):
    found = step(peer, "identity")
    assert (found.status, found.reason) == (
        Status.NONFINITE,
        "3 matrices of the gradient have a nan or inf",
    )
    assert found.timing is not None, "a defect is timed like anything else"


@peers("linear_operator_ciq", "ott_jax", "pot", "spd_learn")
def test_a_gradient_of_its_own_is_right_at_equal_eigenvalues(peer):
    found = step(peer, "identity", function=functions(peer)[0])
    assert found.status is Status.OK, found.reason
    assert found.values["gradient_error"] < 1e-6


@peers("spd_learn")
def test_an_absolute_clamp_is_inaccurate_at_condition_1e6(peer):
    found = step(peer, "logspec(condition=1e6)")
    assert found.status is Status.INACCURATE
    assert found.reason.startswith("gradient error ")
    assert found.values["gradient_error"] > 0.5
    assert 1e-3 < found.values["root_error"] < 1e-2
    exact = step(peer, "logspec(condition=1e6)", precision="float64")
    assert exact.status is Status.OK, "the same matrix is above the clamp of float64"


@peers("spd_learn")
def test_an_absolute_clamp_is_not_scale_invariant(peer):
    a = torch.tensor(with_spectrum(spectrum("condition_100", 8)), dtype=torch.float32)
    small = mssbench.sqrtm(a * 2.0**-20, forward=peer) * 2.0**10
    exact = exact_root(a.double().numpy(), "sqrt")
    assert error(mssbench.sqrtm(a, forward=peer), exact) < 1e-6
    assert error(small, exact) > 1


@peers("geoopt", "pot", "pyriemann")
def test_decompositions_in_float32_lose_the_gradient_at_condition_1e6(peer):
    found = step(peer, "logspec(condition=1e6)")
    assert found.values["root_error"] < 1e-3
    assert 3e-4 < found.values["gradient_error"] < 0.2


@peers("ott_jax")
def test_ott_keeps_three_digits_of_the_gradient_at_condition_1e6(peer):
    found = step(peer, "logspec(condition=1e6)")
    assert found.values["root_error"] < 1e-4
    assert 1e-5 < found.values["gradient_error"] < 5e-3
    assert step(peer, "identity", precision="float64").status is Status.UNSUPPORTED


@peers("linear_operator_ciq")
def test_contour_integral_quadrature_is_inaccurate_from_condition_1e4_on(peer):
    assert step(peer, "logspec(condition=1e4)", function="isqrt").status is Status.INACCURATE
    with pytest.raises(Unsupported, match="linear_operator_ciq does not compute sqrt"):
        pair.pair("sqrt", peer, "autodiff")


@peers("pyriemann")
def test_a_finiteness_check_raises_and_is_a_row(peer):
    a = torch.full((2, 3, 3), torch.nan)
    with pytest.raises(ValueError, match="must be positive definite"):
        mssbench.sqrtm(a, forward=peer)


# --------------------------------------------------------- reached by name, and missing politely


@pytest.fixture
def offer(monkeypatch):
    """Entry points as if only these were installed; what they register is forgotten afterwards."""
    forwards = registry.REGISTRIES["forward"]
    with registry.temporarily(), monkeypatch.context() as patch:
        patch.setattr(forwards, "_of_plugins", {})
        for name in PACKAGES:
            forwards._things.pop(name, None)

        def offer(*points):
            group = "mssbench.forward"
            found = EntryPoints(EntryPoint(name, value, group) for name, value in points)
            monkeypatch.setattr(registries, "entry_points", lambda group: found.select(group=group))

        yield offer


def module(tmp_path, monkeypatch, name, text):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.delitem(sys.modules, name, raising=False)


GOOD = """
from mssbench.methods.registry import Root, register_forward

@register_forward(cite="a stranger, 2026", products=lambda: 1.0, libraries=["torch"])
def {name}(a):
    \"\"\"A stranger's root.\"\"\"
    return Root(a, a)
"""


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize(
    "statement",
    [
        "import mssbench.methods.pair",
        "from mssbench.cli import listing as c; c.listing('backends', [])",
        "from mssbench.suite import suite; suite.load(suite.find('peers'), auto='cpu')",
        "from mssbench.methods import pair as roots; roots.pair('sqrt', 'eigh', 'loewner')",
    ],
    ids=["import", "list", "suite", "pair"],
)
def test_no_library_is_imported_before_its_root_is_taken(statement):
    code = f"import sys\n{statement}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not LIBRARIES & set(done.stdout.split())


def test_every_peer_is_listed_with_its_source_installed_or_not(capsys, monkeypatch):
    monkeypatch.setattr(registry, "_is_installed", lambda package: package != "geoopt")
    found = {r["backend"]: r for r in listing.listing("backends", [])}
    for name in PACKAGES:
        record = found[f"torch/{name}"]
        assert "tested: " in record["cite"]
        assert "Known:" in registry.known("forward")[name].call.__doc__
        assert record["here"].startswith("cpu") or name == "geoopt"
    remedy = "forward 'geoopt' needs geoopt: pip install 'mssbench[peers]'"
    assert found["torch/geoopt"]["here"] == remedy
    assert remedy in " ".join(called(capsys, "list", "backends")[1].split())


def test_a_missing_library_is_a_row_with_its_install_line(monkeypatch):
    monkeypatch.setattr(registry, "_is_installed", lambda package: package != "ot")
    pair._pair.cache_clear()
    found = step("pot", "identity")
    assert (found.status, found.reason) == (
        Status.NOT_INSTALLED,
        "forward 'pot' needs ot: pip install 'mssbench[peers]'",
    )
    with pytest.raises(NotInstalled, match=r"'mssbench\[peers\]'"):
        mssbench.sqrtm(torch.eye(2), forward="pot")
    assert suite.load(suite.find("peers"), auto="cpu").cells, "a suite may still name it"


def test_a_library_of_another_version_is_a_row_with_its_install_line(monkeypatch):
    method = replace(registry.lookup("forward", "eigh"), name="x", package="math.no_such_part")
    with pytest.raises(NotInstalled, match=r"cannot use the installed math.no_such_part: .*: pip"):
        registry.import_package(method)


def test_every_entry_point_carries_the_name_that_it_registers():
    assert not registry.REGISTRIES["forward"].load_plugins()
    assert set(PACKAGES) <= registry.known("forward").keys()


def test_a_stranger_s_package_is_listed_and_named_in_sentences(tmp_path, monkeypatch, offer):
    module(tmp_path, monkeypatch, "stranger", GOOD.format(name="my_root"))
    offer(("my_root", "stranger"))
    with pytest.raises(RegistryError, match="Did you mean 'my_root'"):
        registry.lookup("forward", "my_roots")
    assert "stranger" not in sys.modules
    found = {r["backend"]: r for r in listing.listing("backends", [])}
    assert found["torch/my_root"]["summary"] == "A stranger's root."
    assert registry.lookup("forward", "my_root").cite == "a stranger, 2026"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("import no_such", "needs no_such: pip install no_such"),
        ("import numpy.no_such", "needs numpy: pip install numpy"),
        ("raise ModuleNotFoundError", "cannot be imported: ModuleNotFoundError: "),
        ("def f(:", "cannot be imported: SyntaxError: "),
        ("", "its package registers no forward of this name. Its author has to give"),
        (GOOD.format(name="eigh"), "RegistryError: forward 'eigh' is registered twice"),
    ],
    ids=[
        "raises",
        "lacks-a-package",
        "lacks-a-part",
        "lacks-nothing-named",
        "is-no-python",
        "is-empty",
        "takes-our-name",
    ],
)
def test_a_plugin_that_fails_is_named_and_harms_no_other(
    text, reason, tmp_path, monkeypatch, capsys, offer
):
    module(tmp_path, monkeypatch, "broken", text)
    module(tmp_path, monkeypatch, "stranger", GOOD.format(name="my_root"))
    offer(("my_broken", "broken"), ("my_root", "stranger"))
    found = {r["backend"]: r for r in listing.listing("backends", [])}
    assert reason in found["my_broken"]["here"]
    assert {"torch/eigh", "torch/my_root"} <= found.keys()
    code, printed, _ = called(capsys, "list", "backends")
    assert code == 0
    assert "A plugin that fails." in printed
    row = step("my_broken", "identity")
    assert row.status is Status.NOT_INSTALLED
    assert reason in row.reason
    assert step("eigh", "identity", backward="loewner").status is Status.OK


def test_a_name_that_two_packages_offer_is_refused(offer):
    offer(("my_root", "one"), ("my_root", "two"))
    sentence = "forward 'my_root' is offered twice: by one and by two."
    with pytest.raises(RegistryError, match=sentence):
        registry.lookup("forward", "my_root")
    assert registry.REGISTRIES["forward"].load_plugins() == {"my_root": sentence}


@peers("geoopt")
def test_another_version_of_a_peer_makes_its_rows_old(peer, monkeypatch):
    method = registry.lookup("forward", peer)
    behind = frozenset([method.call.__module__]), frozenset([method.package.partition(".")[0]])
    before = code_hash.hash_of.__wrapped__(*behind)
    assert before == code_hash.hash_of.__wrapped__(*behind)
    monkeypatch.setattr(code_hash, "version", lambda name: "0.0")
    assert before != code_hash.hash_of.__wrapped__(*behind)
    assert facts.describe()["peers"][peer]
