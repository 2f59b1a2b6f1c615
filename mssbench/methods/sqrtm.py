"""The functions `sqrtm` and `isqrtm`, and `chosen`, which says what forward="auto" stands for."""

import difflib
from collections.abc import Mapping
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import InputError, RegistryError, Unsupported, unknown
from mssbench.methods import auto, operators, regularization
from mssbench.methods.auto import Choice, Place
from mssbench.methods.input_checks import check_matrix, check_takes, check_values
from mssbench.methods.method import FUNCTIONS, Function
from mssbench.methods.pair import Pair, pair
from mssbench.methods.regularization import Regularization

# The arguments of `sqrtm` that a misspelt parameter may have meant, and how alike they must be:
# `forwrd` is, while the parameter `backward_iterations` of another method is not like `backward`.
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

    a: (..., n, n), torch, numpy or cupy; symmetric; any number of batch dimensions.
    forward, backward: names from `mssbench list`; the library is that of `a`. Gradients exist for
    torch, by the backward `loewner` where none is named. With forward="auto" both are chosen: the
    pair that was measured to be fastest near this size and batch, and about as accurate as the
    default pair, see `chosen`.
    parameters: those of the forward as they are, those of the backward after `backward_`,
    for example `iterations=10, norm="trace", backward_iterations=8`. Numbers of iterations that are
    not given are "auto" for methods that take this word: each matrix of the batch takes as many
    steps as it needs. With some of them torch waits for a GPU after each step, and a CUDA graph
    cannot be captured; a number avoids both.
    check: look at the values too: a matrix that is not finite or not symmetric is an InputError,
    and so is a singular one for the inverse root. IndefiniteWarning counts those with negative
    eigenvalues, which count as 0 in a spectral method. SingularWarning counts those for which the
    pair has a wrong gradient, see `mssbench list backwards`. Costs more than most roots. Without
    it, a matrix with NaN has a root of NaN, which disturbs no other of its batch.
    ridge: the root of A + ridge (tr A / n) I is taken: a number of 0 or more, for example 1e-4.
    rtol: eigenvalues up to rtol times the largest one of a matrix are zeros, in the root and in its
    gradient: a number from 0 to less than 1, for example 1e-4 in float32 and 1e-10 in float64. The
    inverse root is then the root of the pseudo-inverse. It needs a forward that yields eigenvalues,
    and the backward `loewner`.

    Returns the root, (..., n, n), with the library, dtype and device of `a`. Its gradient is
    symmetric, dL = <S, dA>. Second derivatives are right for nonsingular matrices only; for a
    covariance of fewer samples than dimensions take `sqrtm_of_features`. Raises InputError (a
    ValueError) for a matrix that is not square, a dtype or root that the method does not compute,
    or an unknown name or parameter, with the nearest right word.

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

    Arguments, return value and errors are those of `sqrtm`. A singular matrix has no inverse root:
    give `ridge` or `rtol` for it.
    """
    regular = Regularization(ridge, rtol)
    return _root("isqrt", a, forward, backward, check, regular, parameters)


def chosen(a: Array, function: Function = "sqrt") -> Choice:
    """What forward="auto" stands for, for a batch like `a`: (..., n, n).

    Returns the names of the pair, its parameters, and `why`: where and when it was measured. A pair
    is taken from the answers of `mssbench recommend --save` on this machine, else from those that
    come with the package. A place was measured if its device, function and precision are the same,
    its size differs by a factor of 2 at most, and its batch by 8. Elsewhere, and for what is no
    torch tensor, it is eigh + loewner. Inside torch.func.vmap the mapped matrices count as well.
    Raises InputError for what is no batch of square matrices, or a table that cannot be read.
    """
    check_matrix(a)
    if function not in FUNCTIONS:
        raise InputError(unknown("function", function, FUNCTIONS))
    if arrays.library(a) != "torch":
        return Choice(*auto.DEFAULT, {}, "the default pair: what was measured is torch's")
    gradient = Pair.is_differentiated(a)
    batch = max(1, int(arrays.batch_size(a)))  # in a compiler too, which may not know it yet
    size = max(1, int(a.shape[-1]))
    precision = arrays.dtype_name(a)
    return auto.choice(Place(a.device.type, function, gradient, precision, size, batch))


def _chosen_pair(
    function: Function, a: Array, backward: str | None, parameters: dict[str, Any]
) -> tuple[str, str | None, dict[str, Any]]:
    """The pair and parameters of "auto", which leaves nothing to be named beside it."""
    named = ["backward"] if backward is not None else sorted(parameters)
    if named:
        raise InputError(
            f'forward="auto" chooses the whole pair: leave {named[0]} out, or name the forward.'
        )
    found = chosen(a, function)
    # Without a derivative no backward is needed, and the forward may pair with none that is named.
    backward = found.backward if Pair.is_differentiated(a) else None
    return found.forward, backward, dict(found.parameters)


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
        return a * 1  # no matrix, or matrices without entries: nothing to take a root of
    try:
        return chosen(a)
    except Unsupported as answer:  # what only the matrix or the parameters together can tell
        raise InputError(f"{answer}.") from None


def _resolved(
    function: Function,
    a: Array,
    forward: str,
    backward: str | None,
    regular: Regularization,
    parameters: dict[str, Any],
) -> Pair:
    """The pair that is asked for, once it is known to take `a`."""
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
    """A hint where a parameter is named almost like an argument of `sqrtm`; empty elsewhere."""
    for name in parameters:
        near = difflib.get_close_matches(name, _ARGUMENTS, n=1, cutoff=_ALIKE)
        if near:
            return f" Did you mean the argument {near[0]!r} of the function itself?"
    return ""


def _at_singular(chosen: Pair, a: Array) -> str:
    """What is wrong with a gradient of the pair for a singular matrix, if one may be asked for."""
    if chosen.backward is None or not chosen.is_differentiated(a):
        return ""
    reasons = [(m.name, m.at_singular) for m in (chosen.forward, chosen.backward)]
    return "; ".join(f"{name}: {reason}" for name, reason in reasons if reason)


def _resolved_call(a: Array, call: operators.Call) -> Pair:
    """The same for the call of an operator, with the check of values that it asks for."""
    try:
        regular, parameters = regularization.split(operators.decoded(call))
    except RegistryError as error:
        raise InputError(str(error)) from None
    chosen = _resolved(call.function, a, call.forward, call.backward, regular, parameters)
    if call.check:
        check_values(a, call.function, chosen.regular, _at_singular(chosen, a))
    return chosen


operators.resolved_by(_resolved_call)
