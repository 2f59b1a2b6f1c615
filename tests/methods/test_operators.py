"""Roots in torch.compile and torch.export, and of tensors without values: fake ones and `meta`."""

import io
import itertools
import os
import shutil
import warnings

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

import mssbench
from mssbench.errors import InputError
from mssbench.methods import operators
from mssbench.methods.operators import CallArguments, decoded, encoded
from mssbench.testing.matrices import cotangent, error, exact_gradient, spectrum, with_spectrum

ROOTS = {"sqrt": mssbench.sqrtm, "isqrt": mssbench.isqrtm}
functions = pytest.mark.parametrize("function", ROOTS)
# The default pair, one that is traced through its steps, a solver behind an iteration, a recorded
# decomposition, a backward that replays iterates, one that is no solver, a pair that looks at its
# residuals, and the chosen pair.
PAIRS = {
    "default": {},
    "newton_schulz+autodiff": {
        "forward": "newton_schulz",
        "backward": "autodiff",
        "iterations": 20,
        "norm": "trace",
    },
    "minimax_hybrid+lyapunov_minimax": {
        "forward": "minimax_hybrid",
        "backward": "lyapunov_minimax",
    },
    "svd+autodiff": {"forward": "svd", "backward": "autodiff"},
    "replayed": {"forward": "newton_schulz", "backward": "newton_schulz_adjoint", "iterations": 20},
    "svd_trunc": {"forward": "eigh", "backward": "svd_trunc"},
    "stopping": {"forward": "newton_schulz", "backward": "lyapunov_newton_schulz"},
    "auto": {"forward": "auto"},
}
every_pair = pytest.mark.parametrize("named", PAIRS.values(), ids=PAIRS)


@pytest.fixture(autouse=True)
def _fresh():
    """Every test compiles for itself, and warnings of torch about its own parts do not matter."""
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch._dynamo.reset()


def matrices(n=5, batch=3, dtype=torch.float64):
    x = with_spectrum(spectrum("near_one", n), batch=batch)
    return torch.tensor(x, dtype=dtype).requires_grad_()


def compiled(function, backend="aot_eager", dynamic=None, **named):
    """The root as a compiled function of `a`, with an operation of torch on each side of it."""

    def call(a):
        return 2 * ROOTS[function](a * 1, **named)

    return torch.compile(call, fullgraph=True, backend=backend, dynamic=dynamic)


def compilations():
    """Every combination; the quick ones compile forward and backward, once for each pair."""
    for name, function, dtype, backend in itertools.product(
        PAIRS, ROOTS, (torch.float64, torch.float32), ("aot_eager", "eager")
    ):
        named = (name, function, dtype, backend)
        quick = backend == "aot_eager" and (function == "isqrt") == (dtype == torch.float64)
        marks = [] if quick else pytest.mark.slow
        yield pytest.param(*named, marks=marks, id=f"{name}-{function}-{dtype}-{backend}")


@pytest.mark.sampled(4, slow=10)
@pytest.mark.parametrize(("name", "function", "dtype", "backend"), [*compilations()])
def test_one_graph_gives_the_root_and_gradient_of_the_plain_call(name, function, dtype, backend):
    named = PAIRS[name]
    a, g = matrices(dtype=dtype), torch.tensor(cotangent((3, 5, 5)), dtype=dtype)
    y = compiled(function, backend, **named)(a)
    due = 2 * ROOTS[function](a, **named)
    (s,), (due_s,) = (torch.autograd.grad((x * g).sum(), a) for x in (y, due))
    assert y.dtype == s.dtype == dtype
    assert torch.equal(y, due)
    assert torch.allclose(s, due_s, rtol=1e-5, atol=10 * torch.finfo(dtype).eps)
    if name != "svd_trunc":
        exact = exact_gradient(a.detach().double().numpy(), 2 * cotangent((3, 5, 5)), function)
        assert error(s.detach().double(), exact) < 1e-5
    with torch.no_grad():
        assert torch.equal(compiled(function, backend, **named)(a), due)


@pytest.mark.sampled(slow=1)
@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")),
    reason="inductor, torch.compile's default backend, needs a C++ compiler",
)
@functions
@pytest.mark.parametrize(
    "name",
    [
        "default",
        "minimax_hybrid+lyapunov_minimax",
        pytest.param("replayed", marks=pytest.mark.exhaustive),
    ],
)
def test_inductor_gives_the_root_and_gradient_of_the_plain_call(name, function):
    a, named = matrices(n=30, dtype=torch.float32), PAIRS[name]
    y, due = compiled(function, "inductor", **named)(a), 2 * ROOTS[function](a, **named)
    (s,), (due_s,) = (torch.autograd.grad(x.square().sum(), a) for x in (y, due))
    assert torch.allclose(y, due, rtol=1e-5)
    assert torch.allclose(s, due_s, rtol=1e-5, atol=1e-5)


@functions
def test_one_compiled_function_serves_every_shape(function):
    # The import of torch's compiler takes seconds, which collecting tests need not wait for.
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    call = compiled(function, counter, dynamic=True)
    call(matrices(4, 3))
    first = counter.frame_count  # torch may compile the first call in several attempts
    for batch, n in ((2, 3), (4, 6), (7, 6)):
        a = matrices(n, batch)
        y, due = call(a), 2 * ROOTS[function](a)
        (s,), (due_s,) = (torch.autograd.grad(x.square().sum(), a) for x in (y, due))
        assert torch.equal(y, due)
        assert torch.allclose(s, due_s)
    assert counter.frame_count == first


def test_parameters_may_change_between_the_calls_of_a_compiled_function():
    """To the compiler a number that changes is a symbol from its second value on."""

    def call(a, iterations, lower, norm):
        y = mssbench.sqrtm(a * 1, forward="newton_schulz", iterations=iterations, norm=norm)
        return y + mssbench.sqrtm(a, forward="minimax", lower=lower)

    graph = torch.compile(call, fullgraph=True, backend="aot_eager")
    a = matrices().detach()
    for given in ((3, 0.02, "trace"), (4, 0.03, "trace"), (5, 0.04, "frobenius")):
        assert torch.equal(graph(a, *given), call(a, *given))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"a": 5, "b": -1, "c": 0.1, "d": 1e-300, "e": float("inf")},
        {"norm": "a=b:c", "flag": True, "other": False, "nothing": None, "empty": ""},
    ],
)
def test_parameters_survive_their_way_through_an_operator(parameters):
    call = CallArguments("sqrt", "eigh", None, False, *encoded(parameters))
    found = decoded(call)
    assert found == parameters
    assert [type(found[name]) for name in parameters] == [*map(type, parameters.values())]


def test_in_a_compiled_function_values_are_checked_when_it_runs():
    graph = compiled("sqrt", check=True)
    a = matrices().detach()
    graph(a)
    with pytest.raises(InputError, match=r"matrix \[0\] .*is not symmetric"):
        graph(a.triu())


@pytest.mark.parametrize(
    ("named", "words"),
    [({"forward": "eig"}, "Did you mean 'eigh'"), ({"iterations": 3}, "takes no 'iterations'")],
)
def test_a_wrong_word_is_answered_while_a_function_is_compiled(named, words):
    with pytest.raises(Exception, match=words):
        compiled("sqrt", **named)(matrices())


def test_under_autocast_a_compiled_root_keeps_its_precision():
    def call(a):
        with torch.autocast("cpu", torch.bfloat16):
            return mssbench.sqrtm(a * 1)

    a = matrices(dtype=torch.float32)
    y = torch.compile(call, fullgraph=True, backend="aot_eager")(a)
    (s,), (due,) = (torch.autograd.grad(x.sum(), a) for x in (y, call(a)))
    assert y.dtype == s.dtype == torch.float32
    assert torch.allclose(s, due)


@pytest.mark.sampled(slow=1)
@pytest.mark.slow
@functions
def test_transforms_in_a_compiled_function_give_what_they_give_outside_of_it(function):
    """They leave the graph, as an operator has no rules for them."""
    root, a = ROOTS[function], matrices().detach()

    def loss(x):
        return root(x).square().sum()

    for transform in (
        lambda x: torch.func.grad(loss)(x),
        lambda x: torch.func.vmap(torch.func.grad(loss))(x),
        lambda x: torch.func.jvp(root, (x,), (x,))[1],
    ):
        torch._dynamo.reset()
        assert torch.allclose(torch.compile(transform, backend="aot_eager")(a), transform(a))


# ------------------------------------------------------------------------------------------ export


class Whitening(torch.nn.Module):
    def __init__(self, named):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(5, dtype=torch.float64))
        self.named = named

    def forward(self, a):
        return mssbench.isqrtm(self.weight @ a @ self.weight.mT, **self.named)


QUICK = ("default", "newton_schulz+autodiff")
exported = pytest.mark.parametrize(
    ("name", "strict"),
    [
        pytest.param(name, strict, marks=[] if name in QUICK and not strict else pytest.mark.slow)
        for name in PAIRS
        for strict in (False, True)
    ],
)


@pytest.mark.sampled(1, slow=3)
@exported
def test_an_exported_module_runs_and_learns_as_the_module_does(name, strict):
    module, a = Whitening(PAIRS[name]), matrices().detach()
    # "auto" chooses by the size of the batch, which is then part of the program
    batch, other = (None, 3) if name == "auto" else (torch.export.Dim("batch", min=2), 7)
    shapes = None if batch is None else ({0: batch},)
    program = torch.export.export(module, (a,), strict=strict, dynamic_shapes=shapes)
    assert "mssbench.root.default" in [str(node.target) for node in program.graph.nodes]

    with io.BytesIO() as file:
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file)
    x = matrices(batch=other).detach()
    due = module(x)
    (due_s,) = torch.autograd.grad(due.sum(), module.weight)
    for again in (program, loaded, program.run_decompositions()):
        found = again.module()
        y = found(x)
        (s,) = torch.autograd.grad(y.sum(), dict(found.named_parameters())["weight"])
        assert torch.equal(y, due)
        assert torch.allclose(s, due_s)


def test_an_exported_root_refuses_the_transforms_it_has_no_rules_for():
    root = torch.export.export(Whitening({}), (matrices().detach(),)).module()
    with pytest.raises(InputError, match=r"no rules of torch\.func"):
        torch.func.grad(lambda a: root(a).sum())(matrices().detach())


@functions
def test_an_operator_has_second_derivatives_where_its_pair_has(function):
    call = CallArguments(function, "eigh", None, False, *encoded({}))

    def root(a):
        return torch.ops.mssbench.root((a + a.mT) / 2, *call)

    a = matrices(n=3, batch=1)
    assert torch.autograd.gradcheck(root, a)
    assert torch.autograd.gradgradcheck(root, a)


# --------------------------------------------------------------------------------- without values


@functions
@every_pair
def test_a_tensor_on_meta_has_a_root_and_a_gradient_on_meta(named, function):
    a = torch.empty(3, 30, 30, dtype=torch.float32, device="meta", requires_grad=True)
    y = ROOTS[function](a, **named)
    y.sum().backward()
    for x in (y, a.grad, ROOTS[function](a.detach(), **named)):
        assert (x.shape, x.dtype, x.device.type) == (a.shape, a.dtype, "meta")


@functions
@every_pair
def test_a_fake_tensor_has_a_fake_root_and_gradient(named, function):
    with FakeTensorMode():
        a = torch.empty(3, 30, 30, dtype=torch.float32, requires_grad=True)
        y = ROOTS[function](a, **named)
        y.sum().backward()
    for x in (y, a.grad):
        assert type(x) is type(a)
        assert (x.shape, x.dtype, x.device.type) == (a.shape, a.dtype, "cpu")


def test_a_tensor_without_values_is_refused_as_others_are():
    with pytest.raises(InputError, match="expected square matrices"):
        mssbench.sqrtm(torch.empty(2, 3, device="meta"))
    with pytest.raises(InputError, match="'eigh' takes float64 or float32"):
        mssbench.sqrtm(torch.empty(3, 3, dtype=torch.bfloat16, device="meta"))


# ------------------------------------------------------------------------------------ the operators


@pytest.mark.parametrize("forward", ["eigh", "minimax", "pade"])
@functions
def test_what_an_operator_states_is_what_it_returns(forward, function):
    """torch's own checks: schema, aliases, shapes and strides against the real results."""
    backward = "loewner" if forward == "eigh" else "kronecker"
    call = CallArguments(function, forward, backward, False, *encoded({}))
    a = matrices().detach()
    tests = ("test_schema", "test_faketensor")
    for x in (a, a[:1], a[:0], a.mT, matrices(n=1).detach()):
        torch.library.opcheck(torch.ops.mssbench.root.default, (x, *call), test_utils=tests)
        torch.library.opcheck(torch.ops.mssbench.keep.default, (x, *call), test_utils=tests)
        torch.library.opcheck(torch.ops.mssbench.again.default, (x, x, *call), test_utils=tests)
        _, *kept = torch.ops.mssbench.keep(x, *call)
        kept = kept if forward == "eigh" else torch.ops.mssbench.keep(x, *call)
        for name in ("gradient", "solution"):
            operator = getattr(torch.ops.mssbench, name).default
            torch.library.opcheck(operator, (kept, x, *call), test_utils=tests)


def test_a_result_never_shares_memory_with_what_it_is_made_of():
    a = torch.eye(3)
    shared, transposed = operators._owned([a, a.mT], [a.shape, a.shape], a)
    assert len({x.untyped_storage().data_ptr() for x in (a, shared, transposed)}) == 3
    wide = operators._owned([torch.eye(3)], [torch.Size((2, 3, 3))], a)[0]
    assert wide.is_contiguous()
    assert np.array_equal(wide, np.stack([np.eye(3)] * 2))


@pytest.mark.parametrize("forward", ["gcp_truncate", "gcp_seb"])
def test_a_backward_that_reads_four_tensors_is_compiled_as_well(forward):
    """Its field has as many parts to torch's compiler as it has in the call itself."""

    def root(a):
        return mssbench.sqrtm(a, forward=forward, backward="daleckii_krein")

    x = torch.tensor(np.random.default_rng(0).standard_normal((2, 5, 9)))
    a, g = x @ x.mT / 9, torch.tensor(np.random.default_rng(1).standard_normal((2, 5, 5)))
    gradients = []
    for function in (root, torch.compile(root, backend="aot_eager", fullgraph=True)):
        leaf = a.clone().requires_grad_()
        (function(leaf) * g).sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)
    assert root(a.to("meta").requires_grad_()).shape == a.shape
