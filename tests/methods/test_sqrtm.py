"""`mssbench.sqrtm` and `mssbench.isqrtm` as a user calls them."""

import warnings

import numpy as np
import pytest
import torch
from helpers.matrices import CALLS, Call, every_method_once, generous

import mssbench
from mssbench.errors import IndefiniteWarning, InputError, MssbenchError, RegistryError, Unsupported
from mssbench.methods import method, pair, registry
from mssbench.methods.norms import NORMS
from mssbench.testing.contract import counted
from mssbench.testing.matrices import (
    cotangent,
    error,
    exact_gradient,
    exact_root,
    spectrum,
    with_spectrum,
)


def has_norm(call):
    return "norm" in call.methods[0].parameters


ROOTS = {"sqrt": mssbench.sqrtm, "isqrt": mssbench.isqrtm}
# Fits a coefficient to the matrix and differentiates as if it were given.
FITTED = {"prism"}
functions = pytest.mark.parametrize("function", ROOTS)


def torch_matrices(n=4, batch=2, kind="near_one"):
    return torch.tensor(with_spectrum(spectrum(kind, n), batch=batch), requires_grad=True)


def parameters(call):
    """Enough steps for both methods of a call, as `sqrtm` takes them."""
    forward, backward = call.methods
    theirs = {f"backward_{k}": v for k, v in generous(backward).items()}
    return {"forward": call.forward, "backward": call.backward, **generous(forward), **theirs}


# ------------------------------------------------------------------------------------- gradients


@pytest.mark.sampled(14, slow=14)
@pytest.mark.parametrize("call", every_method_once([c for c in CALLS if c.exact]))
def test_gradcheck_of_every_converged_pair(call):
    a = torch_matrices(n=3)
    root, given = ROOTS[call.function], parameters(call)
    assert torch.autograd.gradcheck(lambda a: root(symmetric_part(a), **given), a)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("norm", ["trace", "frobenius"])
@pytest.mark.parametrize(
    ("forward", "function"),
    [
        (c.forward, c.function)
        for c in CALLS
        if c.backward == "autodiff" and has_norm(c) and c.forward not in FITTED
    ],
)
def test_gradcheck_of_a_truncated_method_includes_its_norm(forward, norm, function):
    a = torch_matrices(n=3, kind="condition_100")
    steps = dict.fromkeys(counted(registry.lookup("forward", forward)), 3)

    def truncated(a):
        return ROOTS[function](
            symmetric_part(a), forward=forward, backward="autodiff", norm=norm, **steps
        )

    assert torch.autograd.gradcheck(truncated, a)


def symmetric_part(a):
    return (a + a.mT) / 2


@functions
@pytest.mark.parametrize("backward", ["autodiff", "loewner", "lyapunov_newton_schulz"])
def test_a_cotangent_that_is_not_symmetric_counts_by_its_symmetric_part(function, backward):
    call = Call("newton_schulz", backward, function)
    a = torch_matrices()
    g = np.random.default_rng(0).standard_normal(a.shape)
    ROOTS[function](a, **parameters(call)).backward(torch.tensor(g))
    assert error(a.grad, exact_gradient(a.detach().numpy(), g, function)) < 1e-12
    assert error(a.grad, a.grad.mT.numpy()) < 1e-14


def test_a_root_used_twice_and_two_roots_of_one_matrix_add_their_gradients():
    a = torch_matrices()
    x = a.detach().numpy()
    g, h = cotangent(x.shape, 1), cotangent(x.shape, 2)
    y = mssbench.sqrtm(a)
    ((y * torch.tensor(g)).sum() + (y * torch.tensor(h)).sum()).backward()
    assert error(a.grad, exact_gradient(x, g + h, "sqrt")) < 1e-12
    a.grad = None
    both = mssbench.sqrtm(a), mssbench.isqrtm(a, forward="newton_schulz", iterations=15)
    torch.autograd.backward(both, (torch.tensor(g), torch.tensor(h)))
    exact = exact_gradient(x, g, "sqrt") + exact_gradient(x, h, "isqrt")
    assert error(a.grad, exact) < 1e-12


def test_a_graph_that_is_kept_gives_the_same_gradient_again():
    a = torch_matrices()
    for backward in ("loewner", "lyapunov_newton_schulz"):
        y = mssbench.isqrtm(a, forward="newton_schulz", backward=backward)
        first, second = (torch.autograd.grad(y.sum(), a, retain_graph=True)[0] for _ in range(2))
        assert torch.equal(first, second)


def test_a_second_derivative_through_the_steps_is_right():
    a = torch_matrices(n=2, batch=1)

    def recorded(a):
        return mssbench.sqrtm(
            symmetric_part(a), forward="newton_schulz", backward="autodiff", iterations=4
        )

    assert torch.autograd.gradgradcheck(recorded, a)


def test_only_tensors_that_ask_for_a_gradient_get_one():
    a = torch_matrices()
    assert mssbench.sqrtm(a).requires_grad
    assert not mssbench.sqrtm(a.detach()).requires_grad
    with torch.no_grad():
        assert not mssbench.sqrtm(a).requires_grad
    with torch.inference_mode():
        y = mssbench.sqrtm(a, forward="newton_schulz", iterations=15)
        assert y.is_inference()
    assert error(y.clone(), exact_root(a.detach().numpy(), "sqrt")) < 1e-13


# ------------------------------------------------------------------------- what a gradient keeps


def saved_bytes(root, a, **given):
    kept = saved_tensors(root, a, **given)
    # the link to `a` has its shape and the memory of one number
    assert [x.untyped_storage().nbytes() for x in kept if not any(x.stride())] == [8]
    return sum(x.numel() * x.element_size() for x in kept if any(x.stride()))


def saved_tensors(root, a, **given):
    kept = []

    def pack(x):
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        root(a, **given)
    return kept


MATRIX, VECTOR = 2 * 8 * 8 * 8, 2 * 8 * 8  # bytes of a float64 (2, 8, 8) and (2, 8)


@pytest.mark.parametrize(
    ("forward", "backward", "function", "expected"),
    [
        ("eigh", "loewner", "sqrt", MATRIX + VECTOR),
        ("eigh", "loewner", "isqrt", MATRIX + VECTOR),
        ("svd", "loewner", "sqrt", MATRIX + VECTOR),
        ("eigh", "lyapunov_newton_schulz", "sqrt", MATRIX),
        ("newton_schulz", "lyapunov_newton_schulz", "sqrt", MATRIX),
        ("newton_schulz", "lyapunov_newton_schulz", "isqrt", 2 * MATRIX),
        ("newton_schulz", "loewner", "sqrt", MATRIX),
        ("newton_schulz", "loewner", "isqrt", 2 * MATRIX),
        ("taylor", "lyapunov_newton_schulz", "sqrt", MATRIX),
        ("pade", "lyapunov_newton_schulz", "isqrt", 2 * MATRIX),
        ("denman_beavers", "lyapunov_newton_schulz", "sqrt", MATRIX),
    ],
)
def test_a_gradient_keeps_only_what_its_backward_reads(forward, backward, function, expected):
    a = torch_matrices(n=8)
    assert saved_bytes(ROOTS[function], a, forward=forward, backward=backward) == expected


def test_a_recorded_gradient_keeps_more_with_every_step():
    a = torch_matrices(n=8)
    sizes = []
    for steps in (2, 3, 4):
        named = {"forward": "newton_schulz", "backward": "autodiff", "iterations": steps}
        kept = saved_tensors(mssbench.sqrtm, a, **named)
        sizes.append(sum(x.numel() * x.element_size() for x in kept))
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] >= 3 * MATRIX


# ---------------------------------------------------------------------------- shapes and layouts


@functions
@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4), (1, 4, 4), (2, 3, 4, 4)], ids=str)
def test_any_number_of_batch_dimensions(function, shape):
    count = int(np.prod(shape[:-2]))
    x = with_spectrum(spectrum("condition_100", 4), batch=count).reshape(shape)
    g = cotangent(shape)
    for forward in ("eigh", "newton_schulz"):
        steps = {"iterations": 20} if forward == "newton_schulz" else {}
        a = torch.tensor(x, requires_grad=True)
        y = ROOTS[function](a, forward=forward, **steps)
        y.backward(torch.tensor(g))
        assert y.shape == a.grad.shape == shape
        assert error(y.detach(), exact_root(x, function)) < 1e-12
        assert error(a.grad, exact_gradient(x, g, function)) < 1e-11


@functions
@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4, 4), (0, 0), (3, 0, 0)], ids=str)
def test_empty_batches_and_empty_matrices(function, shape):
    for call in CALLS:
        method = call.methods[0]
        if (call.function, call.backward) == (function, "loewner") and not method.sizes:
            if "torch" in method.libraries:
                a = torch.zeros(shape, requires_grad=True)
                y = ROOTS[function](a, forward=call.forward)
                y.sum().backward()
                assert y.shape == a.grad.shape == shape
                assert y is not a
            if "numpy" in method.libraries:
                assert ROOTS[function](np.zeros(shape), forward=call.forward).shape == shape


@functions
@pytest.mark.parametrize("forward", ["eigh", "svd", "newton_schulz", "pade", "denman_beavers"])
def test_the_layout_in_memory_does_not_matter(function, forward):
    wide = torch.zeros(2, 4, 8, dtype=torch.float64)
    wide[..., ::2] = torch_matrices().detach()
    plain = wide[..., ::2].clone().contiguous()
    root = ROOTS[function]
    expected = root(plain, forward=forward)
    last_first = plain.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for a in (wide[..., ::2], plain.mT, last_first):
        assert not a.is_contiguous()
        a = a.requires_grad_()
        y = root(a, forward=forward)
        assert error(y.detach(), expected.numpy()) < 1e-13
        y.sum().backward()
    fortran = np.asfortranarray(plain.numpy())
    assert error(root(fortran, forward=forward), expected.numpy()) < 1e-13


@functions
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_arrays_give_numpy_arrays(function, dtype):
    a = with_spectrum(spectrum("near_one", 4)).astype(dtype)
    a.setflags(write=False)
    for forward, given in (("eigh", {}), ("newton_schulz", {"iterations": 12})):
        y = ROOTS[function](a, forward=forward, **given)
        assert type(y) is np.ndarray
        assert y.dtype == dtype
        assert error(y, exact_root(a.astype(float), function)) < 20 * np.finfo(dtype).eps


def test_numpy_is_silent_about_a_matrix_without_inverse():
    z = mssbench.isqrtm(np.diag([1.0, 0.0]))
    assert not np.isfinite(z).all()


def singular(kind):
    """A matrix without inverse root, before one that has one: (2, 3, 3)."""
    x = np.random.default_rng(0).standard_normal((3, 2))
    first = {
        "zero": np.zeros((3, 3)),
        "ones": np.ones((3, 3)),
        "a zero": np.diag([1.0, 0.0, 2.0]),
        "indefinite": np.diag([1.0, -1e-3, 2.0]),
        "rank 2": x @ x.T,
    }[kind]
    return np.stack([first, with_spectrum(np.array([0.5, 1.0, 2.0]))[0]])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["zero", "ones", "a zero", "indefinite", "rank 2"])
def test_an_inverse_root_that_is_not_finite_has_no_finite_gradient(kind):
    """By every pair that declares itself exact. What rounding has made regular may be finite."""
    told = set()
    for call in CALLS:
        if call.function == "isqrt" and call.exact:
            a = torch.tensor(singular(kind), requires_grad=True)
            z = mssbench.isqrtm(a, **parameters(call))
            (s,) = torch.autograd.grad(z.sum(), a)
            assert torch.isfinite(s[1]).all(), f"{call} spoils the rest of the batch"
            if not torch.isfinite(z[0]).all():
                told.add(call.backward)
                assert not torch.isfinite(s[0]).any(), call
    assert kind != "a zero" or {"loewner", "loewner_parallel", "svd_original"} <= told


def test_a_diverged_root_has_a_gradient_that_says_so():
    a = torch.tensor(with_spectrum(spectrum("near_one", 6), batch=3))
    a[1] = torch.nan
    a.requires_grad_()
    mssbench.sqrtm(a, forward="newton_schulz", iterations=12).sum().backward()
    assert torch.isnan(a.grad[1]).all()
    exact = exact_gradient(a[::2].detach().numpy(), np.ones((2, 6, 6)), "sqrt")
    assert error(a.grad[::2], exact) < 1e-12


# ------------------------------------------------------------------------------------- bad input


def message(root, *args, **given):
    with pytest.raises(InputError) as caught:
        root(*args, **given)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, MssbenchError)
    return str(caught.value)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("forwrd", "forward"), ("backwards", "backward"), ("rigde", "ridge"), ("backward_steps", "")],
)
def test_a_misspelt_argument_is_not_taken_for_a_parameter_of_the_method(misspelt, meant):
    said = message(mssbench.sqrtm, np.eye(2), **{misspelt: 3})
    assert f"takes no '{misspelt.removeprefix('backward_')}'" in said or misspelt in said
    assert (f"Did you mean the argument {meant!r}" in said) == bool(meant)


def test_an_unknown_word_is_answered_with_the_nearest_right_one():
    a = np.eye(2)
    forwards = registry.REGISTRIES["forward"].names()
    assert message(mssbench.sqrtm, a, forward="eig").startswith(
        f"Unknown forward 'eig'. Did you mean 'eigh'? Nearest of {len(forwards)}: eigh, "
    )
    assert message(mssbench.sqrtm, a, backward="lowner") == (
        "Unknown backward 'lowner'. Did you mean 'loewner'? "
        f"Known: {', '.join(registry.REGISTRIES['backward'].names())}."
    )
    assert message(mssbench.sqrtm, a, forward="newton_schulz", iteration=3) == (
        "forward 'newton_schulz' takes no 'iteration'. Unknown parameter 'iteration'. "
        "Did you mean 'iterations'? Known: iterations, norm."
    )
    assert message(mssbench.isqrtm, a, forward="newton_schulz", norm="frobenus") == (
        "Unknown norm of newton_schulz 'frobenus'. Did you mean 'frobenius'? "
        f"Known: {', '.join(sorted(NORMS))}."
    )


def test_a_parameter_that_does_not_exist_is_refused():
    a = np.eye(2)
    assert message(mssbench.sqrtm, a, iterations=3) == (
        "forward 'eigh' takes no 'iterations': it has no parameters."
    )
    assert message(mssbench.sqrtm, a, backward_iterations=3) == (
        "backward 'loewner' takes no 'iterations': it has no parameters."
    )


@pytest.mark.parametrize("value", [True, 5.0, "5", [5], None], ids=repr)
def test_a_value_of_the_wrong_type_is_refused_even_after_an_equal_one(value):
    a = np.eye(2)
    for known in (5, 1):
        mssbench.sqrtm(a, forward="newton_schulz", iterations=known)
    assert message(mssbench.sqrtm, a, forward="newton_schulz", iterations=value) == (
        f"forward 'newton_schulz': its parameter iterations = {value!r} is not a whole number "
        'or "auto".'
    )


def test_a_negative_count_is_refused():
    assert message(mssbench.sqrtm, np.eye(2), forward="taylor", degree=-1) == (
        "forward 'taylor': its parameter degree = -1 is negative."
    )


@pytest.mark.parametrize("library", [np, torch], ids=["numpy", "torch"])
def test_what_is_not_a_batch_of_square_matrices_is_refused(library):
    for shape in ((3, 2), (4,), (), (2, 3, 4)):
        assert message(mssbench.sqrtm, library.ones(shape)) == (
            f"expected square matrices (..., n, n), got shape {shape}."
        )
    assert message(mssbench.sqrtm, [[1.0]]) == ("expected a torch, numpy or cupy array, got list.")


def test_a_dtype_without_roots_is_refused_with_the_remedy():
    assert message(mssbench.sqrtm, torch.eye(2, dtype=torch.int64)) == (
        "expected floating-point matrices, got int64. Convert first, for example a.double()."
    )
    assert message(mssbench.sqrtm, np.eye(2, dtype=np.complex128)) == (
        "expected floating-point matrices, got complex128. If it is real, take a.real."
    )


def test_a_dtype_the_method_does_not_take_is_refused_with_the_remedy():
    half = torch.eye(2, dtype=torch.bfloat16)
    assert message(mssbench.sqrtm, half) == (
        "forward 'eigh' takes float64 or float32 torch arrays, not bfloat16. "
        "Convert first, for example a.double(). "
        'Or take forward="newton_schulz", which computes in bfloat16.'
    )
    assert mssbench.sqrtm(half, forward="newton_schulz").dtype == torch.bfloat16
    half.requires_grad_()
    assert message(mssbench.sqrtm, half, forward="newton_schulz") == (
        "backward 'loewner' takes float64 or float32 torch arrays, not bfloat16. "
        "Convert first, for example a.double(). "
        'Or take backward="lyapunov_newton_schulz", which computes in bfloat16.'
    )
    assert message(mssbench.sqrtm, np.eye(2, dtype=np.float16), forward="newton_schulz") == (
        "forward 'newton_schulz' takes float64 or float32 numpy arrays, not float16. "
        'Convert first, for example a.astype("float64").'
    )


def test_what_messages_name_for_half_precision_takes_it():
    for kind, name in method.TAKES_HALF.items():
        assert set(method.HALF) <= set(registry.lookup(kind, name).precisions)


def test_numbers_of_a_foreign_byte_order_are_refused_with_the_remedy():
    a = np.eye(2).astype(np.dtype(float).newbyteorder("S"))
    assert message(mssbench.sqrtm, a) == (
        f"expected numbers in the byte order of this machine, got {a.dtype.str}. "
        'Convert first, for example a.astype(a.dtype.newbyteorder("=")).'
    )
    assert np.array_equal(mssbench.sqrtm(a.astype(a.dtype.newbyteorder("="))), np.eye(2))


def test_a_root_the_forward_does_not_compute_is_refused():
    assert message(mssbench.isqrtm, np.eye(2), forward="taylor") == (
        "taylor does not compute isqrt."
    )


# ------------------------------------------------------------------------------------ check=True


def test_a_product_of_covariances_is_refused_with_the_symmetric_form_of_the_same_trace():
    first, second = with_spectrum(spectrum("near_one", 4), batch=2)
    product = first @ second
    assert "take the symmetric S1^{1/2} S2 S1^{1/2} instead" in message(
        mssbench.sqrtm, product, check=True
    )
    half = exact_root(first[None], "sqrt")[0]
    symmetric_form = half @ second @ half
    due = np.sqrt(np.linalg.eigvals(product)).sum()
    found = mssbench.sqrtm((symmetric_form + symmetric_form.T) / 2, check=True)
    assert np.trace(found) == pytest.approx(due)


@pytest.mark.parametrize(
    ("a", "words"),
    [
        (np.zeros((3, 3)), "the matrix has no inverse root: .* smallest eigenvalue of 0 and"),
        (np.ones((3, 3)), "the matrix has no inverse root: .* and a largest of 3"),
        (
            np.stack([np.eye(2), np.diag([1.0, 1e-16])]),
            r"matrix \[1\] has no inverse root: .*1e-16",
        ),
    ],
)
def test_an_inverse_root_that_does_not_exist_is_refused(a, words):
    with pytest.raises(InputError, match=words):
        mssbench.isqrtm(a, check=True)
    assert np.isfinite(mssbench.sqrtm(a, check=True)).all()
    ridge = 1e-8 * np.eye(a.shape[-1])
    assert np.isfinite(mssbench.isqrtm(a + ridge, check=True)).all()


BOTH = pytest.mark.parametrize("put", [np.asarray, torch.tensor], ids=["numpy", "torch"])


@BOTH
def test_a_matrix_that_is_not_finite_is_named_when_checked(put):
    a = np.stack([np.eye(3)] * 6).reshape(2, 3, 3, 3)
    a[1, 1, 0, 2] = np.nan
    assert message(mssbench.sqrtm, put(a), check=True) == (
        "matrix [1, 1] has entries that are not finite."
    )
    a[0, 2, 0, 0] = np.inf
    assert message(mssbench.isqrtm, put(a), check=True) == (
        "matrix [0, 2] (and 1 more) has entries that are not finite."
    )


@BOTH
def test_a_matrix_that_is_not_symmetric_is_named_when_checked(put):
    a = np.stack([np.eye(3)] * 4)
    a[2, 0, 1], a[3, 0, 1] = 1e-3 / 2**0.5, 0.5
    assert message(mssbench.sqrtm, put(a), check=True) == (
        "matrix [2] (and 1 more) is not symmetric: |A - Aᵀ| = 1e-03 of its largest entry. "
        "If it should be, take its symmetric part, (A + Aᵀ) / 2. If it is a product S1 @ S2 of two "
        "covariance matrices, as in the Fréchet distance, take the symmetric S1^{1/2} S2 S1^{1/2} "
        "instead: its root has the same trace."
    )
    assert message(mssbench.sqrtm, put(a[2]), check=True).startswith("the matrix is not symmetric")
    assert mssbench.sqrtm(put(a)).shape == a.shape  # unchecked: the lower triangle is the matrix


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rounding_is_let_pass_when_checked(dtype):
    x = torch.randn(4, 16, 3, dtype=dtype)  # rank 3: thirteen eigenvalues are 0 but for rounding
    a = x @ x.mT
    a[:, 0, 1] *= 1 + torch.finfo(dtype).eps
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mssbench.sqrtm(a, forward="minimax_hybrid", check=True)


@BOTH
def test_indefinite_matrices_are_counted_when_checked_and_clamped(put):
    a = np.stack([np.diag([1.0, s, 4.0]) for s in (1, -1, 2, -0.5)])
    with pytest.warns(IndefiniteWarning) as caught:
        y = mssbench.sqrtm(put(a), check=True)
    assert str(caught[0].message) == (
        "2 of 4 matrices have negative eigenvalues, down to -1. Methods that compute "
        "eigenvalues replace these by 0, svd uses |w|, and iterations diverge."
    )
    assert caught[0].filename == __file__
    assert error(y, np.sqrt(a.clip(0))) < 1e-15


@pytest.mark.parametrize("scale", [1e25, 1.0, 1e-25])
def test_a_check_knows_no_scale(scale):
    a = torch.eye(3) * scale
    a[0, 1] = 0.1 * scale
    assert "is not symmetric: |A - Aᵀ| = 1e-01" in message(mssbench.sqrtm, a, check=True)
    x = torch.randn(3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mssbench.sqrtm(x @ x.mT * scale, check=True)
    singular = torch.diag(torch.tensor([1.0, -1.0])) * scale
    assert "has no inverse root" in message(mssbench.isqrtm, singular, check=True)


def test_what_svd_makes_of_an_indefinite_matrix_is_what_it_says():
    a = torch.diag(torch.tensor([1.0, -1.0, 4.0], dtype=torch.float64))
    clamped, absolute = (torch.diag(torch.tensor([1.0, x, 2.0])).double() for x in (0.0, 1.0))
    for forward in ("eigh", "eigh_parallel", "gcp_truncate", "batched_qr"):
        assert error(mssbench.sqrtm(a[None], forward=forward), clamped[None].numpy()) < 1e-7
    assert error(mssbench.sqrtm(a[None], forward="svd"), absolute[None].numpy()) < 1e-14


def test_a_size_the_backward_cannot_serve_is_an_input_error():
    a = torch.eye(20).repeat(2, 1, 1).requires_grad_()
    for backward, word in (("kronecker", "16 at most"), ("svd_topn", "take a shorter tail")):
        y = mssbench.sqrtm(a, backward=backward)
        with pytest.raises(InputError, match=word):
            y.sum().backward()


@pytest.mark.parametrize("lower", [-0.5, 2.0, 1e-300, float("nan")])
@pytest.mark.parametrize("forward", ["minimax", "qdwh"])
def test_an_interval_that_is_none_is_refused(forward, lower):
    assert f"lower = {lower:g} is not in [" in message(
        mssbench.sqrtm, torch.eye(3)[None], forward=forward, lower=lower
    )


def test_sparse_tensors_and_matrix_objects_are_refused():
    assert "take a.to_dense()" in message(mssbench.sqrtm, torch.eye(3).to_sparse())
    with warnings.catch_warnings(action="ignore"):
        matrix = np.matrix(np.eye(3))
    assert "got matrix" in message(mssbench.sqrtm, matrix)


def test_nothing_is_checked_unless_asked_and_empty_batches_pass():
    a = np.full((2, 3, 3), np.nan)
    assert np.isnan(mssbench.sqrtm(a, forward="newton_schulz")).all()
    assert mssbench.sqrtm(np.ones((0, 3, 3)), check=True).shape == (0, 3, 3)


@pytest.mark.parametrize("forward", ["eigh", "svd", "eigh_parallel", "newton_schulz"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_matrix_with_nan_spoils_its_own_root_only(forward, dtype):
    a = torch.eye(3, dtype=dtype).repeat(5, 1, 1) * 4
    a[2, 1, 0] = torch.nan
    y = mssbench.sqrtm(a, forward=forward)
    assert torch.isnan(y[2]).any()
    y[2] = 0
    a[2] = 0
    assert torch.allclose(y, a / 2, atol=1e-6)
    if forward in ("eigh", "svd"):
        b = a.numpy().copy()
        b[2] = np.nan
        y = mssbench.sqrtm(b, forward=forward)
        assert np.isnan(y).any((1, 2)).tolist() == [False, False, True, False, False]


def test_pair_answers_the_harness_in_its_own_words():
    with pytest.raises(Unsupported, match=r"^taylor does not compute isqrt$"):
        pair.pair("isqrt", "taylor", None)
    with pytest.raises(RegistryError, match=r"^backward_iterations is given, but there is no bac"):
        pair.pair("sqrt", "eigh", None, (("backward_iterations", 3),))
    assert pair.pair("sqrt", "eigh", "loewner") is pair.pair("sqrt", "eigh", "loewner")


def test_the_example_of_the_docstring():
    import doctest
    import importlib

    results = doctest.testmod(importlib.import_module("mssbench.methods.sqrtm"))
    assert results.attempted > 0
    assert results.failed == 0
