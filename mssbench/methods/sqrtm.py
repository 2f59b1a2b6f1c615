"""The functions `sqrtm` and `isqrtm`, and the checks of their arguments, which raise InputError."""

import warnings
from typing import Any

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import (
    IndefiniteWarning,
    InputError,
    RegistryError,
    SingularWarning,
    Unsupported,
    unknown,
)
from mssbench.methods import auto, operators, regularization
from mssbench.methods.auto import Choice, Place
from mssbench.methods.decomposition import NULL
from mssbench.methods.method import FUNCTIONS, HALF, TAKES_HALF, Function, Kind, Method
from mssbench.methods.pair import Pair, pair
from mssbench.methods.regularization import NONE, Regularization


def check_array(a: Array) -> None:
    """Raise InputError unless `a` is a dense array of one of the libraries, without a mask."""
    if not arrays.library_of(type(a)) or not hasattr(a, "ndim") or isinstance(a, np.matrix):
        raise InputError(f"expected a torch, numpy or cupy array, got {type(a).__name__}.")
    if isinstance(a, np.ma.MaskedArray):
        raise InputError(
            "expected an array without a mask: a root takes every entry of a matrix. "
            "Fill what is masked first, for example with a.filled(0)."
        )
    if getattr(a, "is_sparse", False) or str(getattr(a, "layout", "")).startswith("torch.sparse"):
        raise InputError("expected dense matrices, got a sparse tensor: take a.to_dense().")


def check_matrix(a: Array) -> None:
    """Raise InputError unless `a` is an array of square floating-point matrices."""
    check_array(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise InputError(f"expected square matrices (..., n, n), got shape {tuple(a.shape)}.")
    if arrays.dtype_name(a) not in arrays.STORAGE.values():
        if not getattr(a.dtype, "isnative", True):
            raise InputError(
                f"expected numbers in the byte order of this machine, got {a.dtype.str}. "
                'Convert first, for example a.astype(a.dtype.newbyteorder("=")).'
            )
        how = "If it is real, take a.real." if "complex" in arrays.dtype_name(a) else _convert(a)
        raise InputError(f"expected floating-point matrices, got {arrays.dtype_name(a)}. {how}")


def check_takes(method: Method, a: Array) -> None:
    """Raise InputError unless the method computes with arrays like `a`."""
    library, dtype = arrays.library(a), arrays.dtype_name(a)
    if library not in method.libraries:
        raise InputError(
            f"{method.kind} {method.name!r} takes {' or '.join(method.libraries)} arrays, "
            f"not {library}."
        )
    known = [p for p in arrays.PRECISIONS[library] if p in method.precisions]
    if dtype not in known:
        known = [p for p in known if p in arrays.STORAGE.values()]
        raise InputError(
            f"{method.kind} {method.name!r} takes {' or '.join(known)} {library} arrays, "
            f"not {dtype}. {_convert(a)}{_that_takes(method.kind, a)}"
        )
    if method.sizes and a.shape[-1] not in method.sizes:
        sizes = " or ".join(map(str, method.sizes))
        raise InputError(f"{method.kind} {method.name!r} takes size {sizes}, not {a.shape[-1]}.")


def _that_takes(kind: Kind, a: Array) -> str:
    """The sentence with a method that takes half precision, where the library has it at all."""
    dtype = arrays.dtype_name(a)
    if dtype not in HALF or arrays.library(a) != "torch":
        return ""
    return f' Or take {kind}="{TAKES_HALF[kind]}", which computes in {dtype}.'


def _convert(a: Array) -> str:
    how = "a.double()" if arrays.library(a) == "torch" else 'a.astype("float64")'
    return f"Convert first, for example {how}."


def check_values(
    a: Array, function: Function, regular: Regularization = NONE, wrong_gradient: str = ""
) -> None:
    """Raise InputError unless each matrix is finite and symmetric; warn of indefinite ones.

    wrong_gradient: what is wrong with the gradient of a singular matrix, where something is and a
    gradient will be asked for: a warning then names the singular matrices.

    a: (..., n, n). Rounding is let pass: an asymmetry or a negative eigenvalue of up to n eps |A|,
    |A| the Frobenius norm. For the inverse root every eigenvalue, with its ridge, must exceed 4 eps
    times the largest one, unless rtol says which of them count. The check runs on the host and in
    float64, whatever the scale and device of `a`.
    """
    n = a.shape[-1]
    if 0 in a.shape:
        return
    if arrays.is_mapped(a):
        raise InputError("check=True reads values, which vmap hides: check the batch before it.")
    batch = arrays.to_numpy(a).reshape(-1, n, n)
    _refuse(~np.isfinite(batch).all((1, 2)), a, "has entries that are not finite")
    scale = np.abs(batch).max((1, 2))
    batch = batch / np.where(scale > 0, scale, 1)[:, None, None]
    rounding = n * arrays.epsilon(a) * np.linalg.norm(batch, axis=(1, 2))
    skew = np.linalg.norm(batch - batch.swapaxes(1, 2), axis=(1, 2))
    wrong = skew > rounding
    _refuse(
        wrong,
        a,
        f"is not symmetric: |A - Aᵀ| = {skew[wrong.argmax()]:.0e} of its largest entry. "
        "If it should be, take its symmetric part, (A + Aᵀ) / 2. If it is a product S1 @ S2 of two "
        "covariance matrices, as in the Fréchet distance, take the symmetric S1^{1/2} S2 S1^{1/2} "
        "instead: its root has the same trace",
    )
    w = np.linalg.eigvalsh(batch)  # (b, n), ascending
    lowest = w[:, 0]
    ridged = w + regular.ridge * w.mean(1, keepdims=True)
    if function == "isqrt" and regular.rtol is None:
        _refuse(
            (singular := ridged[:, 0] <= NULL * arrays.epsilon(a) * ridged[:, -1]),
            a,
            "has no inverse root: it is singular in this precision, with a smallest eigenvalue of "
            f"{(lowest * scale)[singular.argmax()]:.2g} beside a largest of "
            f"{(w[:, -1] * scale)[singular.argmax()]:.2g}. Add "
            f"{'a larger' if regular.ridge else 'a'} ridge, for example ridge=1e-4, or give rtol "
            "for the root of the pseudo-inverse",
        )
    if wrong_gradient and regular.rtol is None:
        _warn_of_singular(a, ridged, wrong_gradient)
    if indefinite := int((ridged[:, 0] < -rounding).sum()):
        warnings.warn(
            f"{indefinite} of {len(batch)} matrices have negative eigenvalues, down to "
            f"{(ridged[:, 0] * scale).min():.2g}: these count as 0 where eigenvalues are taken, "
            "as |w| for svd, and iterations diverge.",
            IndefiniteWarning,
            stacklevel=4,
        )


def _warn_of_singular(a: Array, w: np.ndarray, wrong_gradient: str) -> None:
    """w: (b, n), the eigenvalues, ascending."""
    singular = w[:, 0] <= NULL * arrays.epsilon(a) * w[:, -1]
    if singular.any():
        warnings.warn(
            f"{int(singular.sum())} of {len(w)} matrices are singular in this precision, for which "
            f'the gradient will be wrong: {wrong_gradient}. Take forward="eigh" with '
            'backward="loewner", or give a ridge.',
            SingularWarning,
            stacklevel=5,
        )


def _refuse(wrong: np.ndarray, a: Array, why: str) -> None:
    if not wrong.any():
        return
    first = ", ".join(map(str, np.unravel_index(int(wrong.argmax()), a.shape[:-2] or (1,))))
    which = f"matrix [{first}]" if a.ndim > 2 else "the matrix"
    others = int(wrong.sum()) - 1
    raise InputError(f"{which}{f' (and {others} more)' if others else ''} {why}.")


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
        raise InputError(str(error)) from None
    except Unsupported as answer:
        raise InputError(f"{answer}.") from None
    check_takes(chosen.forward, a)
    if chosen.backward is not None and chosen.records(a):
        check_takes(chosen.backward, a)
    return chosen


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
