"""The contract of a method, over the registry: a new method brings its tests with it."""

import itertools
import math

import numpy as np
import pytest
import torch
from matrices import (
    BACKWARDS_ON_CPU,
    CALLS,
    EVERY,
    FORWARDS,
    METHODS,
    ON_CPU,
    REFUSED,
    SERIES,
    TORCH64,
    UNIT,
    Call,
    Cost,
    cotangent,
    counted,
    error,
    exact_gradient,
    exact_root,
    generous,
    hold,
    kronecker_gradient,
    on_backends,
    put,
    root_and_gradient,
    rotation,
    spectrum,
    takes,
    with_spectrum,
)

from mssbench import arrays
from mssbench.methods.method import FUNCTIONS, Root

FULL = ("float64", "float32")
implicit = pytest.mark.parametrize(
    "method",
    [m for m in BACKWARDS_ON_CPU if not m.recorded and "iterates" not in m.fields],
    ids=lambda m: m.name,
)
# Those that need the iterates of a forward are tested with it.
SOLVERS = [
    m for m in BACKWARDS_ON_CPU if not m.recorded and not m.inexact and "iterates" not in m.fields
]
forwards = pytest.mark.parametrize("method", ON_CPU, ids=lambda m: m.name)
methods = pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.kind}-{m.name}")

# At equal eigenvalues the recorded decompositions divide by zero, as their backward says, and so
# does the derivative of an eigendecomposition; Padé's has 0 in that place.
DECOMPOSITIONS = {m.name for m in FORWARDS if "eigen" in m.fields}
DIVIDES_BY_A_GAP = {"autodiff", "svd_original", "svd_pade"}
LOST_AT_TIES = {
    (c.forward, c.backward)
    for c in CALLS
    if c.exact and c.forward in DECOMPOSITIONS and c.backward in DIVIDES_BY_A_GAP
}
# Its products depend on the size: those of the largest are declared.
COSTS_BY_SIZE = {"kronecker"}
# Decompositions, rotations and products with a vector are no batched products: an estimate.
COSTS_ESTIMATED = {"svd", "batched_qr", "gcp_truncate", "power_iteration"}
# Starts from a vector that is the same in every basis.
DEPENDS_ON_BASIS = {"power_iteration"}
# Its root is singular but for rounding, and with it every Lyapunov equation.
SINGULAR = {"gcp_truncate"}
# The zero matrix has the root 0, but these invert it on the way, as their docstring says.
NEEDS_NONSINGULAR = {"denman_beavers", "denman_beavers_product"}
# Rounding grows in every step that is not needed, beyond condition 2.4, as its docstring says.
UNSTABLE = {"newton_inverse"}


# ------------------------------------------------------------------------------- right answers


def test_the_reference_agrees_with_a_dense_solve_of_the_lyapunov_equation():
    a = with_spectrum(spectrum("condition_100", 5), batch=1)[0]
    g = cotangent(a.shape)
    for function in FUNCTIONS:
        assert error(exact_gradient(a, g, function), kronecker_gradient(a, g, function)) < 1e-12


def _limits(call, backend, kind="near_one"):
    """What rounding may do to root and gradient: about three times the most we have seen."""
    u = UNIT[backend.precision]
    if backend.precision not in FULL:
        cancels = (call.forward, call.backward) == ("pade_half", "autodiff")  # p_i up to ±113
        # Sums are rounded once, and the steps forget earlier roundings.
        return 3 * u, (40 if cancels else 6) * u
    if kind != "near_one":
        return 80 * u, 250 * u  # √κ and κ, for the inverse root
    # 1 / gap for a decomposition, the cancellation of high powers for a series, P'(0) for minimax.
    by_gap = (call.forward, call.backward) in LOST_AT_TIES
    lost = by_gap or (call.backward == "autodiff" and call.forward in ("minimax", *SERIES))
    return 20 * u, (300 if lost else 60) * u


@pytest.mark.parametrize("method", SOLVERS, ids=lambda m: m.name)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_backward_solves_the_equation_whichever_fields_it_is_given(method, function):
    a = with_spectrum(spectrum("condition_100", 5), batch=1)
    g = cotangent(a.shape)
    exact = kronecker_gradient(a[0], g[0], function)
    found = (exact_root(a, "sqrt"), exact_root(a, "isqrt"), *np.linalg.eigh(a))
    y, z, w, v = (put(x, method) for x in found)
    roots = [Root(sqrt=y, isqrt=z)] * (not method.only) + [Root(sqrt=y, isqrt=z, eigen=(w, v))]
    for root in roots:
        s = method.call(root, function, put(g, method), **generous(method))
        assert error(s[0], exact) < 1e-11


# ------------------------------------------------------------------------- what must not change


@implicit
def test_a_backward_leaves_what_was_saved_for_it(method):
    a = with_spectrum(spectrum("near_one", 4))
    saved = [exact_root(a, "sqrt"), exact_root(a, "isqrt"), *np.linalg.eigh(a)]
    y, z, w, v = (put(x.copy(), method) for x in saved)
    for function in FUNCTIONS:
        g, given = put(cotangent(a.shape), method), generous(method)
        method.call(Root(sqrt=y, isqrt=z, eigen=(w, v)), function, g, **given)
        if not method.only:
            method.call(Root(sqrt=y, isqrt=z), function, g, **given)
    for x, kept in zip((y, z, w, v), saved, strict=True):
        assert (arrays.to_numpy(x) == kept).all()


# ------------------------------------------------------- the contract of a pair on a backend


@on_backends()
def test_a_pair_keeps_its_contract(call, backend):
    """Every property below, of one pair on one backend; a failure names what does not hold."""
    backend.require()
    checks = [results_are_arrays_like_the_input]
    if call.exact:
        checks.append(root_and_gradient_are_exact)
    if backend.precision in FULL:
        checks += [
            inputs_are_not_written_to,
            a_batch_of_one_is_an_element_of_a_batch,
            a_zero_matrix_leaves_its_neighbours_untouched,
        ]
        if call.exact:
            checks.append(a_scaled_matrix_has_a_scaled_root)
    if backend == TORCH64:
        if call.exact and (call.forward, call.backward) not in LOST_AT_TIES:
            checks.append(rotated_clusters_have_right_gradients)
        if call.forward not in DEPENDS_ON_BASIS:
            checks.append(a_rotated_matrix_has_a_rotated_root)
    hold(checks, call, backend)


def root_and_gradient_are_exact(call, backend):
    kinds = ["near_one"]
    if backend.precision in FULL and call.forward not in {*SERIES, *UNSTABLE}:
        kinds.append("condition_100")
    for kind in kinds:
        a = backend.put(with_spectrum(spectrum(kind, call.fit(6))))
        g = backend.put(cotangent(a.shape))
        seen, g64 = arrays.to_numpy(a), arrays.to_numpy(g)  # the matrix after rounding, exactly
        root, gradient = root_and_gradient(call.pair(), a, g)
        root_limit, gradient_limit = _limits(call, backend, kind)
        assert error(root, exact_root(seen, call.function)) < root_limit
        assert error(gradient, exact_gradient(seen, g64, call.function)) < gradient_limit


def inputs_are_not_written_to(call, backend):
    a = backend.put(with_spectrum(spectrum("near_one", call.fit(4))))
    g = backend.put(cotangent(a.shape))
    if arrays.library(a) == "numpy":
        a.setflags(write=False)
        g.setflags(write=False)
    before = arrays.to_numpy(a).tobytes(), arrays.to_numpy(g).tobytes()
    root_and_gradient(call.pair(), a, g)
    assert (arrays.to_numpy(a).tobytes(), arrays.to_numpy(g).tobytes()) == before


def results_are_arrays_like_the_input(call, backend):
    for shape in ((3, 3), (1, 3, 3), (2, 2, 3, 3)):
        a = backend.put(np.broadcast_to(with_spectrum([1.1, 1.0, 0.9], 1)[0], shape))
        for x in root_and_gradient(call.pair(), a, a):
            assert (type(x), x.dtype, x.device, x.shape) == (type(a), a.dtype, a.device, a.shape)


def a_batch_of_one_is_an_element_of_a_batch(call, backend):
    # Sixty-four scales, so that anything taken over the batch is far from the element's own.
    w = spectrum("near_one", call.fit(4))
    x = with_spectrum(w, batch=64) * np.logspace(-3, 3, 64)[:, None, None]
    a, g = backend.put(x), backend.put(cotangent(x.shape))
    pair = call.pair(**_unconverged(call))
    whole = [arrays.to_numpy(x) for x in root_and_gradient(pair, a, g)]
    limit = 1e-12 if backend.precision == "float64" else 1e-6
    if call.forward in DECOMPOSITIONS and (call.backward == "autodiff" or "eigen" in _reads(call)):
        limit *= 30  # 1 / gap magnifies what the library's batched routine rounds differently
    for i in (0, 31, 63):
        single = root_and_gradient(pair, a[i : i + 1], g[i : i + 1])
        for one, many in zip(single, whole, strict=True):
            assert error(one, many[i : i + 1]) <= limit


def _reads(call):
    return call.methods[1].fields


def _unconverged(call):
    """Few steps: only there would a norm taken over the batch show in the root."""
    forward, backward = call.methods
    few = {"iterations": 4, "degree": 4, "norm": "frobenius"}
    mine = {k: v for k, v in few.items() if takes(forward, k, v)}
    theirs = {f"backward_{k}": v for k, v in few.items() if takes(backward, k, v)}
    return {**mine, **theirs}


def a_scaled_matrix_has_a_scaled_root(call, backend):
    scales = [1e6, 1e-6, 1e20, 1e-20]
    if (call.forward, call.backward) == ("svd", "autodiff"):
        scales = scales[:2]  # torch squares the singular values: float32 overflows
    x = with_spectrum(spectrum("near_one", call.fit(4)))
    a = backend.put(np.concatenate([x * scale for scale in scales]))
    g = backend.put(np.concatenate([cotangent(x.shape)] * len(scales)))
    seen = arrays.to_numpy(a)
    exact = exact_gradient(seen, arrays.to_numpy(g), call.function)
    root, gradient = root_and_gradient(call.pair(), a, g)
    root_limit, gradient_limit = _limits(call, backend)
    assert error(root, exact_root(seen, call.function)) < root_limit
    assert error(gradient, exact) < gradient_limit


def rotated_clusters_have_right_gradients(call, backend):
    a = with_spectrum([0.95, 1.05, 1.05, 1.05, 0.95][: call.fit(5)])
    g = cotangent(a.shape)
    _, s = root_and_gradient(call.pair(), backend.put(a), backend.put(g))
    assert error(s, exact_gradient(a, g, call.function)) < 1e-12


def a_rotated_matrix_has_a_rotated_root(call, backend):
    n = call.fit(5)
    a = with_spectrum(spectrum("condition_100", n))
    g, q = cotangent(a.shape), rotation(n, seed=99)
    pair = call.pair(**_unconverged(call))  # the law holds for every k
    plain = root_and_gradient(pair, backend.put(a), backend.put(g))
    turned = root_and_gradient(pair, backend.put(q @ a @ q.T), backend.put(q @ g @ q.T))
    limit = 1e-6 if call.forward in SINGULAR else 1e-11
    for x, y in zip(plain, turned, strict=True):
        assert error(y, q @ arrays.to_numpy(x) @ q.T) < limit


def a_zero_matrix_leaves_its_neighbours_untouched(call, backend):
    two = with_spectrum(spectrum("near_one", call.fit(4)), batch=2)
    x = np.stack([two[0], np.zeros_like(two[0]), two[1]])
    a, g = backend.put(x), backend.put(cotangent(x.shape))
    pair = call.pair()
    alone = root_and_gradient(pair, a[[0, 2]], g[[0, 2]])
    among = root_and_gradient(pair, a, g)
    limit = 1e-11 if backend.precision == "float64" else 1e-5
    for one, many in zip(alone, among, strict=True):
        assert error(many[[0, 2]], arrays.to_numpy(one)) < limit
    zero_root = arrays.to_numpy(among[0])[1]
    if call.function == "sqrt" and call.forward not in NEEDS_NONSINGULAR:
        assert not zero_root.any()
    else:
        assert not np.isfinite(zero_root).all()


# ------------------------------------------------------------------------------ laws of the root


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(np.eye(4)[None], id="identity"),
        pytest.param(np.diag([1.05, 1.05, 0.95, 0.95])[None], id="diagonal_clusters"),
    ],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_equal_eigenvalues_have_right_gradients_but_for_the_documented_pairs(matrix, function):
    g = cotangent(matrix.shape)
    exact = exact_gradient(matrix, g, function)
    lost = set()
    for call in CALLS:
        if call.function == function and call.exact and not call.methods[0].sizes:
            pair = call.pair()
            _, s = root_and_gradient(pair, torch.tensor(matrix), torch.tensor(g))
            if not error(s, exact) < 1e-12:  # NaN is not
                lost.add((call.forward, call.backward))
    assert lost == LOST_AT_TIES


# ------------------------------------------------------------------------ what a method declares


def test_a_pair_is_refused_only_where_the_forward_lacks_what_it_takes():
    for call in [*EVERY, *REFUSED]:
        forward, backward = call.methods
        if backward.only:
            fields = set(backward.fields)
        elif backward.recorded or set(backward.fields) & set(forward.fields):
            fields = set()
        else:  # the roots of the Lyapunov equation
            fields = {"sqrt"}
        lacks = not {call.function, *fields} <= set(forward.fields)
        lacks |= backward.recorded and forward.opaque
        assert (call in REFUSED) == lacks, call


@methods
def test_a_method_declares_itself(method):
    """Its source, the shapes, its parameters and its cost."""
    hold([_cites, _documents, _has_parameters_a_suite_can_write, _has_a_finite_cost], method)


def _cites(method):
    assert any(character.isdigit() for character in method.cite), "a citation has a year"
    assert len(method.cite) > 20


def _documents(method):
    assert "(..., n, n)" in (method.call.__doc__ or "")
    assert method.summary.endswith((".", ":")) or ":" in method.summary


def _has_parameters_a_suite_can_write(method):
    for parameter in method.parameters.values():
        assert isinstance(parameter.default, int | float | str), parameter
        assert method.check(parameter.name, parameter.default) == parameter.default


def _has_a_finite_cost(method):
    for steps in (0, 1, 2, 5, 30):
        parameters = method.complete(dict.fromkeys(counted(method), steps))
        cost = method.products(**parameters)
        assert math.isfinite(cost), steps
        assert cost >= 0 if method.replays else cost > 0, steps


def test_one_parameter_name_has_one_type_in_all_methods():
    types = {}
    for parameter in itertools.chain.from_iterable(m.parameters.values() for m in METHODS):
        types.setdefault(parameter.name, set()).add(parameter.type)
    assert all(len(kinds) == 1 for kinds in types.values()), types


@pytest.mark.parametrize(
    "method",
    [m for m in ON_CPU if m.parameters and m.name not in COSTS_ESTIMATED],
    ids=lambda m: m.name,
)
def test_the_cost_of_an_iteration_is_what_it_spends(method):
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    for steps, function in itertools.product((2, 3, 5, 8), method.functions):
        parameters = method.complete(dict.fromkeys(counted(method), steps))
        with Cost() as cost:
            method.call(a, frozenset([function]), **parameters)
        assert cost.total == pytest.approx(method.products(**parameters)), (steps, function)


@pytest.mark.parametrize(
    "method",
    [m for m in BACKWARDS_ON_CPU if not m.replays and m.name not in COSTS_BY_SIZE],
    ids=lambda m: m.name,
)
def test_the_cost_of_a_backward_is_what_it_spends(method):
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4), batch=1))  # not to be shared by threads
    w, v = torch.linalg.eigh(a)
    root = Root(sqrt=TORCH64.put(exact_root(a.numpy(), "sqrt")), eigen=(w, v))
    parameters = method.complete(generous(method))
    with Cost() as cost:
        method.call(root, "sqrt", a, **parameters)
    assert cost.total == pytest.approx(method.products(**parameters))


@forwards
def test_a_forward_computes_only_the_root_that_is_wanted(method):
    a = put(with_spectrum(spectrum("near_one", max(method.sizes, default=4))), method)
    for function in method.functions:
        root = method.call(a, frozenset([function]), **generous(method))
        (other,) = set(FUNCTIONS) - {function}
        assert getattr(root, function) is not None
        assert getattr(root, other) is None
    every = method.call(a, frozenset(method.fields), **generous(method))
    assert all(getattr(every, field) is not None for field in method.fields)


@forwards
def test_no_step_at_all_is_allowed(method):
    a = put(with_spectrum(spectrum("near_one", max(method.sizes, default=4))), method)
    nothing = dict.fromkeys(counted(method), 0)
    for function in method.functions:
        root = method.call(a, frozenset([function]), **{**generous(method), **nothing})
        assert getattr(root, function).shape in (a.shape, a.shape[1:])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_eigenpairs_rebuild_the_matrix(function):
    a = with_spectrum(spectrum("condition_100", 5))
    for method in ON_CPU:
        if "eigen" in method.fields:
            w, v = method.call(put(a, method), frozenset([function, "eigen"])).eigen
            assert error((v * w[..., None, :]) @ v.swapaxes(-1, -2), a) < 1e-14


def test_a_driver_of_svd_is_refused_where_it_does_not_exist():
    from mssbench.errors import Unsupported

    with pytest.raises(Unsupported, match="torch on cuda only"):
        Call("svd", "loewner", "sqrt").pair(driver="gesvdj")(np.eye(2))
