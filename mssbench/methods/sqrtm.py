"""The public functions `sqrtm`, `isqrtm` and `chosen`, which returns the pair of forward="auto"."""

import difflib
from collections.abc import Mapping
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import InputError, RegistryError, Unsupported, unknown
from mssbench.methods import auto, operators, regularization
from mssbench.methods.auto import Choice, Conditions
from mssbench.methods.input_checks import check_matrix, check_takes, check_values
from mssbench.methods.method import FUNCTIONS, Function
from mssbench.methods.pair import Pair, pair
from mssbench.methods.regularization import Regularization

# Arguments of `sqrtm` to suggest for a misspelt parameter, and the least similarity: high enough
# that `backward_iterations` is not taken for `backward`, low enough for `forwrd`.
_ARGUMENTS = ("forward", "backward", "check", "ridge", "rtol")
_ALIKE = 0.75


def sqrtm(
    a: Array,
    *,
    forward: str = "eigh",
    backward: str | None = None,
    check: bool = False,
    ridge: float = 0.0,
    rtol: float | None = None,
    **parameters: Any,
) -> Array:
    """Principal square root A^{1/2} of each symmetric positive semidefinite matrix of a batch.

    a: (..., n, n), a torch, numpy or cupy array of symmetric matrices, with any number of batch
    dimensions.
    forward, backward: names of methods from `mssbench list`, which run in the library of `a`.
    Gradients exist for torch; the default backward is `loewner`. With forward="auto" both are
    chosen: the pair that was measured to be fastest near this size and batch, and about as
    accurate as the default pair, see `chosen`.
    parameters: those of the forward by their names, those of the backward with the prefix
    `backward_`, for example `iterations=10, norm="trace", backward_iterations=8`. Numbers of
    iterations default to "auto" for methods that take this word: each matrix of the batch takes as
    many steps as it needs. With "auto", some methods make the host wait for the GPU after each
    step and cannot be captured in a CUDA graph; a fixed number avoids both.
    check: check the values first. Raises InputError for a matrix that is not finite or not
    symmetric, and for a singular one if the inverse root is wanted. IndefiniteWarning gives the
    number of matrices with negative eigenvalues, which spectral methods replace by 0.
    SingularWarning gives the number for which the gradient of the pair is wrong, see `mssbench list
    backwards`. The check costs more than most roots. Without it the root of a matrix with NaN is
    NaN, and the other matrices of the batch are unaffected.
    ridge: a number of 0 or more, for example 1e-4. The root of A + ridge (tr A / n) I is returned.
    rtol: a number from 0 to less than 1, for example 1e-4 in float32 and 1e-10 in float64.
    Eigenvalues up to rtol times the largest one of a matrix are zeros, in the root and in its
    gradient. The inverse root is then the root of the pseudo-inverse. It needs a forward that
    yields eigenvalues, and the backward `loewner`.

    Returns the root, (..., n, n), with the library, dtype and device of `a`. Its gradient S is
    symmetric, with dL = <S, dA>. Second derivatives are right for nonsingular matrices only. For
    the covariance of fewer samples than dimensions use `sqrtm_of_features`. Raises InputError (a
    ValueError) for a matrix that is not square, for a dtype or root that the method does not
    compute, and for an unknown name or parameter; the message then suggests the nearest known one.

    >>> import torch, mssbench
    >>> a = torch.eye(3, dtype=torch.float64) * 4
    >>> y = mssbench.sqrtm(a, forward="newton_schulz", iterations=12)
    >>> torch.allclose(y, 2 * torch.eye(3, dtype=torch.float64))
    True
    """
    regular = Regularization(ridge, rtol)
    return _root("sqrt", a, forward, backward, check, regular, parameters)


def isqrtm(
    a: Array,
    *,
    forward: str = "eigh",
    backward: str | None = None,
    check: bool = False,
    ridge: float = 0.0,
    rtol: float | None = None,
    **parameters: Any,
) -> Array:
    """Inverse principal square root A^{-1/2} of each symmetric positive definite matrix.

    Arguments, return value and errors are those of `sqrtm`. A singular matrix has no inverse root;
    `ridge` or `rtol` define one for it.
    """
    regular = Regularization(ridge, rtol)
    return _root("isqrt", a, forward, backward, check, regular, parameters)


def chosen(a: Array, function: Function = "sqrt") -> Choice:
    """Return the pair that forward="auto" stands for, for a batch like `a`: (..., n, n).

    Returns the names of the pair, its parameters, and `why`: where and when it was measured. The
    pair comes from the answers of `mssbench recommend --save` on this machine, or else from those
    shipped with the package. An answer applies if its device, function, precision and need of a
    gradient are the same, its size differs by a factor of at most 2, and its batch by a factor of
    at most 8. If none applies, and for arrays other than torch tensors, the pair is eigh + loewner.
    Inside torch.func.vmap the batch includes the mapped matrices.
    Raises InputError if `a` is not a batch of square matrices, or a table cannot be read.
    """
    check_matrix(a)
    if function not in FUNCTIONS:
        raise InputError(unknown("function", function, FUNCTIONS))
    if arrays.library(a) != "torch":
        return Choice(*auto.DEFAULT, {}, "the default pair: only torch was measured")

    gradient = Pair.is_differentiated(a)
    batch = max(1, int(arrays.batch_size(a)))  # int() also fixes a symbolic size in a compiler
    size = max(1, int(a.shape[-1]))
    precision = arrays.dtype_name(a)
    return auto.choice(Conditions(a.device.type, function, gradient, precision, size, batch))


def _chosen_pair(
    function: Function, a: Array, backward: str | None, parameters: dict[str, Any]
) -> tuple[str, str | None, dict[str, Any]]:
    """Return forward, backward and parameters for which forward="auto" stands.

    Raises InputError if a backward or parameters are given together with "auto".
    """
    named = ["backward"] if backward is not None else sorted(parameters)
    if named:
        raise InputError(
            f'forward="auto" chooses the whole pair: leave {named[0]} out, or name the forward.'
        )
    choice = chosen(a, function)
    # Without a derivative no backward is needed; it might not even pair with the forward.
    backward = choice.backward if Pair.is_differentiated(a) else None
    return choice.forward, backward, dict(choice.parameters)


def _root(
    function: Function,
    a: Array,
    forward: str,
    backward: str | None,
    check: bool,
    regular: Regularization,
    parameters: dict[str, Any],
) -> Array:
    if isinstance(a, operators.Tensor) and operators.are_needed(a):
        given = parameters | regularization.given(regular)
        return operators.root(a, function, forward, backward, check, given)

    chosen = _resolved(function, a, forward, backward, regular, parameters)
    if check:
        check_values(a, function, chosen.regular, _at_singular(chosen, a))
    if 0 in a.shape:
        return a * 1  # an empty batch, or matrices of size 0

    try:
        return chosen(a)
    except Unsupported as answer:  # depends on the matrix or on several parameters together
        raise InputError(f"{answer}.") from None


def _resolved(
    function: Function,
    a: Array,
    forward: str,
    backward: str | None,
    regular: Regularization,
    parameters: dict[str, Any],
) -> Pair:
    """Return the requested pair. Raises InputError if it does not exist or does not take `a`."""
    check_matrix(a)
    if forward == auto.NAME:
        if regular.rtol is not None:
            raise InputError(
                'rtol needs a forward that yields eigenvalues: name it instead of "auto".'
            )
        forward, backward, parameters = _chosen_pair(function, a, backward, parameters)

    try:
        named = parameters and any(name.startswith("backward_") for name in parameters)
        if backward is None and (named or Pair.is_differentiated(a)):
            backward = "loewner"
        given = parameters | regularization.given(regular)
        chosen = pair(function, forward, backward, tuple(sorted(given.items())), public=True)
    except RegistryError as error:
        raise InputError(f"{error}{_misspelt_argument(parameters)}") from None
    except Unsupported as answer:
        raise InputError(f"{answer}.") from None

    check_takes(chosen.forward, a)
    if chosen.backward is not None and chosen.records(a):
        check_takes(chosen.backward, a)
    return chosen


def _misspelt_argument(parameters: Mapping[str, Any]) -> str:
    """Return a hint if a parameter is spelled almost like an argument of `sqrtm`, else ""."""
    for name in parameters:
        near = difflib.get_close_matches(name, _ARGUMENTS, n=1, cutoff=_ALIKE)
        if near:
            return f" Did you mean the argument {near[0]!r} of the function itself?"
    return ""


def _at_singular(chosen: Pair, a: Array) -> str:
    """Return what is wrong with the pair's gradient at singular matrices, if one may be needed."""
    if chosen.backward is None or not chosen.is_differentiated(a):
        return ""
    reasons = [(m.name, m.at_singular) for m in (chosen.forward, chosen.backward)]
    return "; ".join(f"{name}: {reason}" for name, reason in reasons if reason)


def _resolved_call(a: Array, call: operators.CallArguments) -> Pair:
    """Return the pair for the call of an operator, and check the values if the call asks for it."""
    try:
        regular, parameters = regularization.split(operators.decoded(call))
    except RegistryError as error:
        raise InputError(str(error)) from None

    chosen = _resolved(call.function, a, call.forward, call.backward, regular, parameters)
    if call.check:
        check_values(a, call.function, chosen.regular, _at_singular(chosen, a))
    return chosen


operators.resolved_by(_resolved_call)
