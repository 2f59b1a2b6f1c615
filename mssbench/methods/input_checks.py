"""Checks of the arguments of the public functions. Each raises InputError.

`check_array`, `check_matrix` and `check_takes` inspect types and shapes, at negligible cost.
`check_values` reads the matrices, and runs only if the caller requests it.
"""

import warnings

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import IndefiniteWarning, InputError, SingularWarning
from mssbench.methods.decomposition import NULL
from mssbench.methods.method import HALF, TAKES_HALF, Function, Method, MethodKind
from mssbench.methods.regularization import NONE, Regularization


def check_array(a: Array) -> None:
    """Raise InputError unless `a` is a dense array of one of the libraries, without a mask."""
    if not arrays.library_of(type(a)) or not hasattr(a, "ndim") or isinstance(a, np.matrix):
        raise InputError(f"expected a torch, numpy or cupy array, got {type(a).__name__}.")
    if isinstance(a, np.ma.MaskedArray):
        raise InputError(
            "expected an array without a mask: a root takes every entry of a matrix. "
            "Fill the masked entries first, for example with a.filled(0)."
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
        hint = "If it is real, take a.real." if "complex" in arrays.dtype_name(a) else _convert(a)
        raise InputError(f"expected floating-point matrices, got {arrays.dtype_name(a)}. {hint}")


def check_takes(method: Method, a: Array) -> None:
    """Raise InputError unless the method takes the library, the precision and the size of `a`."""
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


def _that_takes(kind: MethodKind, a: Array) -> str:
    """Return a sentence that suggests a method for half precision, or "" if none is needed."""
    dtype = arrays.dtype_name(a)
    if dtype not in HALF or arrays.library(a) != "torch":
        return ""
    return f' Or take {kind}="{TAKES_HALF[kind]}", which computes in {dtype}.'


def _convert(a: Array) -> str:
    call = "a.double()" if arrays.library(a) == "torch" else 'a.astype("float64")'
    return f"Convert first, for example {call}."


def check_values(
    a: Array, function: Function, regular: Regularization = NONE, wrong_gradient: str = ""
) -> None:
    """Raise InputError unless each matrix is finite and symmetric; warn about indefinite ones.

    a: (..., n, n). The tolerance is n eps |A| with the Frobenius norm |A|, for the asymmetry and
    for negative eigenvalues. For the inverse root every eigenvalue, with its ridge, must exceed
    4 eps times the largest one, unless rtol decides which eigenvalues count. The check runs on the
    host in float64, after scaling, whatever the scale and device of `a`.

    wrong_gradient: what is wrong with the gradient of singular matrices; empty if it is right or
    not needed. If given, SingularWarning gives the number of singular matrices.
    """
    n = a.shape[-1]
    if 0 in a.shape:
        return
    if arrays.is_mapped(a):
        raise InputError("check=True reads values, which vmap hides: check the batch before it.")

    batch = arrays.to_numpy(a).reshape(-1, n, n)
    _refuse(~np.isfinite(batch).all((1, 2)), a, "has entries that are not finite")

    # Scaled so that squares neither overflow nor underflow.
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
            f"{(lowest * scale)[singular.argmax()]:.2g} and a largest of "
            f"{(w[:, -1] * scale)[singular.argmax()]:.2g}. Add "
            f"{'a larger' if regular.ridge else 'a'} ridge, for example ridge=1e-4, or give rtol "
            "for the root of the pseudo-inverse",
        )

    if wrong_gradient and regular.rtol is None:
        _warn_of_singular(a, ridged, wrong_gradient)
    if indefinite := int((ridged[:, 0] < -rounding).sum()):
        warnings.warn(
            f"{indefinite} of {len(batch)} matrices have negative eigenvalues, down to "
            f"{(ridged[:, 0] * scale).min():.2g}. Methods that compute eigenvalues replace these "
            "by 0, svd uses |w|, and iterations diverge.",
            IndefiniteWarning,
            stacklevel=4,
        )


def _warn_of_singular(a: Array, w: np.ndarray, wrong_gradient: str) -> None:
    """Warn if any matrix is singular. w: (b, n), the eigenvalues with the ridge, ascending."""
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
