"""The contract of a method, over the registry: a new method brings its tests with it."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from helpers.matrices import (
    BACKWARDS_ON_CPU,
    CALLS,
    EVERY,
    FORWARDS,
    METHODS,
    ON_CPU,
    REFUSED,
    SERIES,
    TORCH64,
    Call,
    Cost,
    generous,
    hold,
    kronecker_gradient,
    on_backends,
    put,
    takes,
)

from mssbench import arrays
from mssbench.methods.method import FUNCTIONS, Root
from mssbench.testing import contract
from mssbench.testing.contract import counted
from mssbench.testing.matrices import (
    UNIT,
    cotangent,
    error,
    exact_gradient,
    exact_root,
    root_and_gradient,
    spectrum,
    with_spectrum,
)

FULL = ("float64", "float32")
# Fields that one forward alone can give: a backward that reads them is tested with it.
OF_ITS_FORWARD = {"iterates", "differential"}
implicit = pytest.mark.parametrize(
    "method",
    [m for m in BACKWARDS_ON_CPU if not m.recorded and not OF_ITS_FORWARD & set(m.fields)],
    ids=lambda m: m.name,
)
SOLVERS = [
    m for m in BACKWARDS_ON_CPU if not (m.recorded or m.inexact or OF_ITS_FORWARD & set(m.fields))
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
COSTS_ESTIMATED = {
    "svd",
    "batched_qr",
    "gcp_truncate",
    "gcp_truncate_released",
    "power_iteration",
}
# A forward that starts from a vector that is the same in every basis; a backward that is rounding.
DEPENDS_ON_BASIS = {"power_iteration", "svd_power_iteration_released"}
# Its root is singular but for rounding, and with it every Lyapunov equation.
SINGULAR = {"gcp_truncate", "gcp_truncate_released"}
# The zero matrix has the root 0, but these divide by it on the way, as their docstring says.
NEEDS_NONSINGULAR = {"denman_beavers", "denman_beavers_product", "gcp_seb_released"}
# Puts every eigenvalue up to an absolute ε at ε, as released: the root of 0 is √ε I.
HAS_A_FLOOR = {"svd_released", "gcp_truncate_released"}
# Its rotation of two zeros is the zero matrix, as released, so that both roots of 0 are 0.
IS_ZERO_AT_ZERO = {"batched_qr_released"}
# Stops as soon as the whole batch is within an absolute 1e-3, as released.
DEPENDS_ON_BATCH = {"batched_qr_released"}
# Divides by e^{-w}, which is 0 for the large matrices of a batch of many scales, as released.
NAN_WHERE_LARGE = {"gcp_seb_released"}
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


@pytest.mark.sampled(140)
@on_backends(thin=tuple(UNIT))
def test_a_pair_keeps_its_contract(call, backend):
    """Every property of `mssbench.testing`, of one pair on one backend, with its own limits."""
    backend.require()
    case = case_of(call, backend)
    checks = [contract.results_are_arrays_like_the_input]
    if call.exact:
        checks.append(contract.root_and_gradient_are_exact)
    if backend.precision in FULL:
        checks += [
            contract.inputs_are_not_written_to,
            contract.a_zero_matrix_leaves_its_neighbours_untouched,
        ]
        if call.forward not in NAN_WHERE_LARGE | DEPENDS_ON_BATCH:
            checks.append(contract.a_batch_of_one_is_an_element_of_a_batch)
        if call.exact:
            checks.append(partial(contract.a_scaled_matrix_has_a_scaled_root, scales=_scales(call)))
    depending = DEPENDS_ON_BASIS | DEPENDS_ON_BATCH  # what stops early is not equally wrong
    if backend == TORCH64 and not depending & {call.forward, call.backward}:
        checks.append(contract.a_rotated_matrix_has_a_rotated_root)
    hold(checks, case)


@pytest.mark.sampled(220)
@on_backends()
def test_a_pair_is_right_where_it_is_hard(call, backend):
    """At condition 100, at equal eigenvalues and at a zero matrix: what not every pair promises."""
    backend.require()
    checks = []
    if backend.precision in FULL:
        checks.append(a_zero_matrix_has_a_zero_root_or_none)
        if call.exact and call.forward not in {*SERIES, *UNSTABLE}:
            checks.append(root_and_gradient_are_exact_at_condition_100)
    if backend == TORCH64 and call.exact and (call.forward, call.backward) not in LOST_AT_TIES:
        checks.append(rotated_clusters_have_right_gradients)
    hold(checks, call, backend)


def case_of(call, backend, kind="near_one"):
    root_limit, gradient_limit = _limits(call, backend, kind)
    alone = 1e-12 if backend.precision == "float64" else 1e-6
    reads_eigen = call.backward == "autodiff" or "eigen" in call.methods[1].fields
    if call.forward in DECOMPOSITIONS and reads_eigen:
        alone *= 30  # 1 / gap magnifies what the library's batched routine rounds differently
    return contract.Case(
        call.pair(),
        call.pair(**_unconverged(call)),
        *backend,
        root_limit,
        gradient_limit,
        alone,
        turned=1e-6 if call.forward in SINGULAR else 1e-11,
    )


def _scales(call):
    of_torch = (call.forward, call.backward) == ("svd", "autodiff")
    # torch squares the singular values: float32 overflows
    return (1e6, 1e-6) if of_torch else (1e6, 1e-6, 1e20, 1e-20)


def _unconverged(call):
    """Few steps: only there would a norm taken over the batch show in the root."""
    forward, backward = call.methods
    few = {"iterations": 4, "degree": 4, "norm": "frobenius"}
    mine = {k: v for k, v in few.items() if takes(forward, k, v)}
    theirs = {f"backward_{k}": v for k, v in few.items() if takes(backward, k, v)}
    return {**mine, **theirs}


def root_and_gradient_are_exact_at_condition_100(call, backend):
    x = with_spectrum(spectrum("condition_100", call.fit(6)))
    contract.agrees(case_of(call, backend, "condition_100"), x)


def rotated_clusters_have_right_gradients(call, backend):
    a = with_spectrum([0.95, 1.05, 1.05, 1.05, 0.95][: call.fit(5)])
    g = cotangent(a.shape)
    _, s = root_and_gradient(call.pair(), backend.put(a), backend.put(g))
    assert error(s, exact_gradient(a, g, call.function)) < 1e-12


def a_zero_matrix_has_a_zero_root_or_none(call, backend):
    a = backend.put(np.zeros((2, call.fit(4), call.fit(4))))
    root, _ = root_and_gradient(call.pair(), a, backend.put(cotangent(a.shape)))
    zero_root = arrays.to_numpy(root)
    if call.forward in HAS_A_FLOOR:
        floor = np.sqrt(UNIT[backend.precision])
        assert error(zero_root, floor * np.broadcast_to(np.eye(a.shape[-1]), a.shape)) < 1e-6
        return
    nonsingular = call.forward in NEEDS_NONSINGULAR
    if call.forward in IS_ZERO_AT_ZERO or (call.function == "sqrt" and not nonsingular):
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
    hold(contract.declaration(), method)


def test_one_parameter_name_has_one_type_in_all_methods():
    types = {}
    for parameter in itertools.chain.from_iterable(m.parameters.values() for m in METHODS):
        types.setdefault(parameter.name, set()).add(parameter.type)
    assert all(len(kinds) == 1 for kinds in types.values()), types


@pytest.mark.sampled(6)
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
    root = Root(
        sqrt=TORCH64.put(exact_root(a.numpy(), "sqrt")), eigen=(w, v), differential=(v, a, w, w)
    )
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
        if "eigen" in method.fields and not method.inexact:  # those decompose another matrix
            w, v = method.call(put(a, method), frozenset([function, "eigen"])).eigen
            assert error((v * w[..., None, :]) @ v.swapaxes(-1, -2), a) < 1e-14


def test_a_driver_of_svd_is_refused_where_it_does_not_exist():
    from mssbench.errors import Unsupported

    with pytest.raises(Unsupported, match="torch on cuda only"):
        Call("svd", "loewner", "sqrt").pair(driver="gesvdj")(np.eye(2))
