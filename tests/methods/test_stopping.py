"""Iterations that stop by themselves: what `sqrtm` and `isqrtm` do where no number is given."""

from functools import cache

import numpy as np
import pytest
import scipy.linalg
import torch
from helpers.matrices import CALLS, ON_CPU, UNSTABLE_DEFAULTS, every_method_once

import mssbench
from mssbench import arrays
from mssbench.errors import InputError, RegistryError, Unsupported
from mssbench.methods import pair, registry, stopping
from mssbench.methods.method import AUTO
from mssbench.methods.stopping import StoppingState

ROOTS = {"sqrt": mssbench.sqrtm, "isqrt": mssbench.isqrtm}
ITERATIVE = [m for m in ON_CPU if "iterations" in m.parameters and not m.inexact]
BY_RESIDUAL = ("newton_schulz", "prism", "denman_beavers", "denman_beavers_product")
SIZE = 64
functions = pytest.mark.parametrize("function", ROOTS)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def matrix(w, seed=0):
    """A symmetric matrix with these eigenvalues, float64."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(w), len(w))))
    a = (q * w) @ q.T
    return (a + a.T) / 2


@cache
def hard():
    """Condition 1e3 three times: evenly spread, one small eigenvalue alone, one large one alone.

    No two eigenvalues are equal, where recorded decompositions have no gradient.
    """
    spread, cluster = np.logspace(0, -3, SIZE), np.linspace(1, 1.5, SIZE - 1)
    one_small, one_large = np.append(cluster / 1.5, 1e-3), np.append(cluster * 1e-3, 1.0)
    return np.stack([matrix(w, i) for i, w in enumerate((spread, one_small, one_large))])


@cache
def features():
    """Features whose covariance has half the rank, as covariance pooling has it."""
    return np.random.default_rng(5).standard_normal((SIZE, SIZE // 2))


def truth(a, g, function):
    """Root and gradient by eigenvectors in float64 (Daleckii and Krein, 1965)."""
    w, v = np.linalg.eigh(a)
    d = np.sqrt(w)
    rows, columns = d[..., :, None], d[..., None, :]
    if function == "sqrt":
        f, differences = d, 1 / (rows + columns)
    else:
        f, differences = 1 / d, -1 / (rows * columns * (rows + columns))
    vt = v.swapaxes(-1, -2)
    return (v * f[..., None, :]) @ vt, v @ (vt @ g @ v * differences) @ vt


def cotangent(shape):
    g = np.random.default_rng(1).standard_normal(shape)
    return g + g.swapaxes(-1, -2)


def error(x, right):
    """The largest relative error of a batch."""
    x = arrays.to_numpy(x)
    return (np.linalg.norm(x - right, axis=(-2, -1)) / np.linalg.norm(right, axis=(-2, -1))).max()


def root_and_gradient(function, a, g, **named):
    a = a.clone().requires_grad_()
    y = ROOTS[function](a, **named)
    return y.detach(), torch.autograd.grad(y, a, g)[0]


def steps_of(forward, a, function="sqrt"):
    """The root without a number of steps, and the number that was taken."""
    made = []

    class Counted(StoppingState):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    module = __import__(
        registry.lookup("forward", forward).call.__module__, fromlist=["StoppingState"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "StoppingState", Counted)
        y = ROOTS[function](a, forward=forward)
    return y, made[0].steps


DEFAULT_CALLS = [
    call
    for call in CALLS
    if call.exact
    and (registry.lookup("forward", call.forward) in ITERATIVE or call.forward == "eigh")
    and "cuda" not in {*call.methods[0].devices, *call.methods[1].devices}
    and call.forward not in UNSTABLE_DEFAULTS
    and call.backward != "kronecker"  # 16 rows at most
]


@dtypes
@pytest.mark.parametrize("call", every_method_once(DEFAULT_CALLS))
def test_a_default_call_is_right_at_condition_1000(call, dtype):
    a = torch.tensor(hard(), dtype=dtype)
    g = torch.tensor(cotangent(a.shape), dtype=dtype)
    y, s = root_and_gradient(call.function, a, g, forward=call.forward, backward=call.backward)
    right_y, right_s = truth(a.double().numpy(), g.double().numpy(), call.function)
    assert error(y, right_y) < 1e-3
    assert error(s, right_s) < 1e-2


def test_the_default_calls_are_those_of_every_iterative_method():
    """So that none drops out of the test above unseen."""
    assert {c.forward for c in DEFAULT_CALLS} >= {
        "denman_beavers",
        "denman_beavers_product",
        "inverse_newton",
        "inverse_newton_ho",
        "minimax",
        "newton_schulz",
        "newton_schulz_baddbmm",
        "prism",
        "qdwh",
    }
    assert {c.backward for c in DEFAULT_CALLS} >= {
        "autodiff",
        "loewner",
        "lyapunov_minimax",
        "lyapunov_newton_schulz",
        "newton_schulz_adjoint",
        "svd_newton",
    }


@functions
@pytest.mark.parametrize("forward", [m.name for m in ITERATIVE])
def test_numpy_has_the_same_default(forward, function):
    method = registry.lookup("forward", forward)
    if "numpy" not in method.libraries or function not in method.functions:
        pytest.skip("the method does not compute this root of a numpy array")
    y = ROOTS[function](hard(), forward=forward)
    right, _ = truth(hard(), np.zeros_like(hard()), function)
    assert error(y, right) < (0.1 if forward in UNSTABLE_DEFAULTS else 1e-8)


@pytest.mark.parametrize(
    "call",
    every_method_once(
        [c for c in DEFAULT_CALLS if "svd" not in c.backward and c.forward != "eigh"]
    ),
)
def test_a_stopped_matrix_keeps_its_bits_while_others_go_on(call):
    """Beside matrices that take as few steps as it, and beside others that take many."""
    easy = [matrix(np.linspace(1, 1.1, 12), i) for i in range(3)]
    others = [matrix(np.logspace(0, -6, 12), i) for i in range(2)]
    named = {"forward": call.forward, "backward": call.backward}
    g = torch.tensor(cotangent((3, 12, 12)))
    calm = root_and_gradient(call.function, torch.tensor(np.stack(easy)), g, **named)
    busy = root_and_gradient(call.function, torch.tensor(np.stack(easy[:1] + others)), g, **named)
    assert torch.equal(busy[0][0], calm[0][0])
    if call.backward.startswith("newton_schulz_adjoint"):  # <G, root> is one sum or another
        assert error(busy[1][:1], calm[1][:1].numpy()) < 1e-14
    else:
        assert torch.equal(busy[1][0], calm[1][0])


@pytest.mark.parametrize("forward", BY_RESIDUAL)
def test_an_easy_batch_takes_fewer_steps_than_a_hard_one(forward):
    easy = torch.tensor(matrix(np.linspace(1, 1.1, SIZE))[None])
    _, few = steps_of(forward, easy)
    _, many = steps_of(forward, torch.tensor(hard()))
    assert 2 <= few < many < StoppingState(easy).most


def test_newton_schulz_takes_what_its_law_says():
    """k ~ ln √(c/w) / ln 1.5 + 3 for the smallest eigenvalue w, c the Frobenius norm, and a few."""
    w = np.logspace(0, -3, SIZE)
    law = np.log(np.sqrt(np.linalg.norm(w) / w[-1])) / np.log(1.5) + 3
    _, steps = steps_of("newton_schulz", torch.tensor(matrix(w)[None]))
    assert law - 1 <= steps <= law + 5


@dtypes
@pytest.mark.parametrize("forward", ["newton_schulz", "prism", "minimax"])
def test_a_singular_matrix_stops_before_its_null_directions_grow(forward, dtype):
    """By its gradient to the features, which needs no law for the null directions."""
    x = torch.tensor(features(), dtype=dtype, requires_grad=True)
    g = torch.tensor(cotangent((SIZE, SIZE)), dtype=dtype)
    y = mssbench.sqrtm(x @ x.mT / x.shape[1], forward=forward)
    (gradient,) = torch.autograd.grad(y, x, g)
    u, s, _ = np.linalg.svd(features(), full_matrices=False)
    d = s / np.sqrt(x.shape[1])
    inner = u.T @ arrays.to_numpy(g) @ u / (d[:, None] + d)
    outside = (arrays.to_numpy(g) @ u - u @ (u.T @ arrays.to_numpy(g) @ u)) / d
    right = 2 / x.shape[1] * (u @ inner + outside) @ u.T @ features()
    limit = 2e-3 if dtype is torch.float32 else 1e-6
    assert error(y[None], ((u * d) @ u.T)[None]) < limit
    assert error(gradient[None], right[None]) < limit


@functions
def test_steps_that_were_taken_are_those_that_are_differentiated(function):
    """Each matrix of a batch has the gradient of the number of steps that it took itself."""
    # A singular matrix shows most: every step back multiplies its null directions by 1.5.
    first = np.linspace(1, 1.1, 8) if function == "isqrt" else np.repeat([1.0, 0.0], 4)
    a = torch.tensor(np.stack([matrix(first), matrix(np.logspace(0, -3, 8))]))
    g = torch.tensor(cotangent(a.shape))
    for backward in ("autodiff", "newton_schulz_adjoint"):
        named = {"forward": "newton_schulz", "backward": backward}
        y, s = root_and_gradient(function, a, g, **named)
        counts = []
        for i in range(2):
            chosen = pair.pair(function, "newton_schulz", None, (("iterations", AUTO),))
            kept = chosen.root(a[i : i + 1], frozenset(("iterates", function)))
            counts.append(int(kept.iterates[-1]))
            one = root_and_gradient(
                function, a[i : i + 1], g[i : i + 1], **named, iterations=counts[-1]
            )
            assert error(y[i : i + 1], one[0].numpy()) < 1e-13
            assert error(s[i : i + 1], one[1].numpy()) < 1e-13
        assert counts[0] < counts[1]


def test_a_matrix_that_has_arrived_takes_a_step_for_its_derivative():
    """A projection is its own root, yet the root has the derivative of no identity."""
    y = np.zeros((4, 4))
    y[0, 0] = 1.0
    x = torch.tensor(y[:, :1], requires_grad=True)
    root = mssbench.sqrtm(x @ x.mT, forward="newton_schulz", backward="autodiff")
    (s,) = torch.autograd.grad(root[0, 0], x)
    assert s[0, 0].item() == pytest.approx(1.0)  # the root of x² is x


def test_zero_identity_and_nan_stop_each_for_themselves():
    eye, zero = torch.eye(4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64)
    y = mssbench.sqrtm(torch.stack([eye, zero, eye * torch.nan, 4 * eye]), forward="newton_schulz")
    assert torch.allclose(y[0], eye)
    assert torch.allclose(y[3], 2 * eye)
    assert not y[1].any()
    assert y[2].isnan().all()


def test_indefinite_matrices_do_not_hide_that_they_diverge():
    a = torch.diag(torch.tensor([1.0, -0.5], dtype=torch.float64))
    y = mssbench.sqrtm(a, forward="newton_schulz")
    assert not error((y @ y)[None], a.numpy()[None]) < 1e-3


# ------------------------------------------------------------- where no number can be looked at


@pytest.mark.parametrize("forward", BY_RESIDUAL)
@pytest.mark.parametrize("backward", ["autodiff", "lyapunov_newton_schulz"])
def test_vmap_takes_all_steps_and_each_matrix_stops_as_otherwise(forward, backward):
    a = torch.tensor(np.stack([matrix(np.logspace(0, -e, 8)) for e in (0.1, 2, 4)]))

    def loss(x):
        return mssbench.sqrtm(x, forward=forward, backward=backward).sum()

    mapped = torch.func.vmap(torch.func.grad(loss))(a)
    _, s = root_and_gradient("sqrt", a, torch.ones_like(a), forward=forward, backward=backward)
    assert error(mapped, s.numpy()) < 1e-12


def along(a, e):
    """The derivative of the square root along e: Y X + X Y = E, solved by SciPy."""
    exact = [scipy.linalg.sqrtm(x) for x in a.numpy()]
    return np.stack([scipy.linalg.solve_sylvester(y, y, x) for y, x in zip(exact, e, strict=True)])


def to_be_moved():
    """Two matrices and a direction for each, float64."""
    a = torch.tensor(np.stack([matrix(np.logspace(0, -k, 8), seed=k) for k in (1, 2)]))
    e = torch.tensor(np.stack([matrix(np.linspace(-1, 1, 8), seed=k) for k in (3, 4)]))
    return a, e


@pytest.mark.parametrize("forward", BY_RESIDUAL)
def test_in_forward_mode_it_stops_as_otherwise(forward):
    a, e = to_be_moved()

    def root(x):
        return mssbench.sqrtm(x, forward=forward, backward="autodiff")

    due = along(a, e)
    tolerance = 1e-6 if forward == "prism" else 1e-10  # its fitted factors are not differentiated
    assert error(torch.func.jvp(root, (a,), (e,))[1], due) < tolerance
    columns = torch.func.jacfwd(root)(a[0])
    assert error((columns * e[0]).sum((-1, -2))[None], due[:1]) < tolerance


@pytest.mark.slow  # torch takes some seconds to record 20 steps
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")  # torch's own, of itself
def test_what_is_recorded_takes_all_steps_without_looking():
    a, e = (x.float() for x in to_be_moved())

    def root(x):
        return mssbench.sqrtm(x, forward="denman_beavers", backward="autodiff")

    _, linear = torch.func.linearize(root, a)
    assert error(linear(e), along(a.double(), e.double())) < 1e-4


@pytest.mark.slow
def test_torch_compile_traces_all_steps_without_looking():
    a = torch.tensor(hard()[0])

    def halved(x):
        stop, ones, residual = StoppingState(x), 0, torch.ones_like(x[:1, :1])
        while stop.goes_on:
            residual = residual * 1e-8
            ones = ones + stop.moved(lambda r=residual: r)
        return ones, stop.steps

    torch._dynamo.reset()
    taken, steps = torch.compile(halved, fullgraph=True, backend="eager")(a)
    assert steps == StoppingState(a).most
    assert int(taken) == 3  # 1e-16 is small enough after two steps, and one more is taken
    assert halved(a)[1] == 3


class OnCuda(torch.Tensor):
    """A tensor that says it lies on a GPU."""

    is_cuda = True


def test_a_foreign_capture_is_refused_and_our_own_is_not(monkeypatch):
    a = torch.eye(3).as_subclass(OnCuda)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(Unsupported, match="cannot be captured as a CUDA graph: give a number"):
        StoppingState(a)
    assert StoppingState(a, reads=False).goes_on


def test_a_number_of_steps_never_looks_at_the_matrices(monkeypatch):
    looked = []
    monkeypatch.setattr(stopping, "largest", lambda x: looked.append(x) or int(x.max()))
    a = torch.eye(3)
    for method in ITERATIVE:
        root = ROOTS[method.functions[0]]
        root(a, forward=method.name, iterations=4)
        assert not looked, method.name
    mssbench.sqrtm(a, forward="minimax")  # its number of steps is the precision's
    assert not looked
    mssbench.sqrtm(a, forward="newton_schulz")
    assert looked


# ----------------------------------------------------------------------- how it can be asked for


def test_a_caller_may_say_auto_where_a_method_stops_by_itself():
    a = torch.tensor(hard())
    by_default = mssbench.sqrtm(a, forward="newton_schulz")
    assert torch.equal(mssbench.sqrtm(a, forward="newton_schulz", iterations="auto"), by_default)
    with pytest.raises(
        InputError, match="'qdwh': its parameter iterations = 'auto' is not a whole number"
    ):
        mssbench.sqrtm(a, forward="qdwh", iterations="auto")
    with pytest.raises(InputError, match="'soon' is not a whole number or \"auto\""):
        mssbench.sqrtm(a, forward="newton_schulz", iterations="soon")


def test_the_default_of_a_method_is_a_number():
    """A suite that names none measures what it always did."""
    for method in ITERATIVE:
        assert type(method.parameters["iterations"].default) is int
    with pytest.raises(RegistryError, match="negative"):
        registry.lookup("forward", "newton_schulz").check("iterations", -1)


@pytest.mark.parametrize("degree", [3, 5, 9])
@pytest.mark.parametrize("unit", [2.0**-8, 2.0**-11, 2.0**-24, 2.0**-53])
def test_a_kernel_holds_the_steps_of_every_precision(degree, unit):
    from mssbench.methods.kernels import factors
    from mssbench.methods.kernels.variants import MOST_STEPS

    assert len(factors.of_roots(degree, AUTO, 1, unit, 64)) <= MOST_STEPS
    if degree < 9:
        assert len(factors.of_gradient(degree, AUTO, 0, unit, 64)) <= MOST_STEPS
