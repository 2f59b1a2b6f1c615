"""The few array operations that numpy, cupy and torch do not spell alike.

A method takes its namespace from its input, `xp = namespace(a)`, and never imports numpy, cupy
or torch itself. What all three offer under one name (`@`, `xp.sum`, `xp.linalg.eigh`, ...) is
used directly. This module imports numpy only; torch and cupy are recognised, never imported,
until `empty` is asked for one of them.
"""

import importlib
import sys
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # numpy.ndarray | cupy.ndarray | torch.Tensor
LIBRARIES = ("torch", "numpy", "cupy")
DEVICES = {"torch": ("cpu", "cuda"), "numpy": ("cpu",), "cupy": ("cuda",)}
# A precision is storage and product rule together; tf32 stores float32.
STORAGE = {
    "float64": "float64",
    "float32": "float32",
    "tf32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
}
# numpy and cupy have no bfloat16, and their float16 linear algebra is emulated or absent.
PRECISIONS = {
    "torch": ("float64", "float32", "tf32", "bfloat16", "float16"),
    "numpy": ("float64", "float32"),
    "cupy": ("float64", "float32"),
}


def namespace(a: Array) -> ModuleType:
    """The array library `a` belongs to."""
    return sys.modules[library_of(type(a))]


_LIBRARY_OF: dict[type, str] = {}  # what `library_of` has found, as it is asked in every call


def library_of(kind: type) -> str:
    """The library whose array a type is, or is made from: `torch` for a subclass of Tensor.

    Empty for a type that is no array of ours.
    """
    if kind not in _LIBRARY_OF:
        names = (base.__module__.partition(".")[0] for base in kind.__mro__)
        _LIBRARY_OF[kind] = next((name for name in names if name in LIBRARIES), "")
    return _LIBRARY_OF[kind]


def library(a: Array) -> str:
    """`numpy`, `cupy` or `torch`."""
    return library_of(type(a))


def transpose(a: Array) -> Array:
    """(..., m, n) -> (..., n, m), a view."""
    # torch differentiates many cotangents at once, and has a rule for this of its two spellings
    return a.transpose(-1, -2) if library(a) == "torch" else a.swapaxes(-1, -2)


def symmetrize(a: Array) -> Array:
    """The symmetric part, (A + Aᵀ) / 2."""
    return (a + transpose(a)) / 2


def dusted(a: Array) -> Array:
    """`a` without what is nothing beside 1: entries up to ε² / 2 are 0, the others keep every bit.

    A CPU takes a hundred times as long for a product of subnormal numbers, and an iteration that
    converges to the identity squares its off-diagonal entries until they are such. On a GPU they
    cost nothing, and `a` is returned as it is. The derivative is that of `a` itself everywhere.
    """
    if library(a) == "cupy" or (library(a) == "torch" and a.is_cuda):
        return a
    xp, most = namespace(a), epsilon(a) ** 2 / 2
    if library(a) == "numpy":
        return xp.where(xp.abs(a) <= most, xp.zeros((), a.dtype), a)
    kept = xp.nn.functional.hardshrink(a, most)  # one pass; (a + ε) - ε takes two, and rounds
    return a - xp.where(kept == 0, a, 0.0).detach() if a.requires_grad else kept


def plus(x: Array, alpha: float, y: Array) -> Array:
    """X + alpha Y, in one pass over memory where the library has it."""
    return namespace(x).add(x, y, alpha=alpha) if library(x) == "torch" else x + alpha * y


def diagonal(a: Array) -> Array:
    """(..., n, n) -> (..., n)."""
    xp = namespace(a)
    return a.diagonal(0, -2, -1) if library(a) == "torch" else xp.diagonal(a, 0, -2, -1)


def trace(a: Array) -> Array:
    """(..., n, n) -> (..., 1, 1), kept broadcastable against `a`."""
    return namespace(a).sum(diagonal(a), axis=-1)[..., None, None]


def frobenius_norm(a: Array) -> Array:
    """(..., n, n) -> (..., 1, 1), kept broadcastable against `a`; one norm per matrix."""
    return namespace(a).linalg.norm(a, axis=(-2, -1), keepdims=True)


def amax(a: Array, axis: int | tuple[int, ...]) -> Array:
    """Largest value along `axis`, which is kept with length 1."""
    xp = namespace(a)
    return xp.amax(a, axis, True) if library(a) == "torch" else xp.amax(a, axis, keepdims=True)


def widened(a: Array) -> Array:
    """`a` in float32 where its dtype is shorter: linear solves exist from there on."""
    return a.float() if dtype_name(a) in ("bfloat16", "float16") else a


def like(a: Array, other: Array) -> Array:
    """`a` with the dtype of `other`."""
    return a.to(other.dtype) if library(a) == "torch" else a.astype(other.dtype, copy=False)


def eye_like(a: Array) -> Array:
    """Identity (n, n) with the dtype and device of `a`, to broadcast over its batch."""
    xp = namespace(a)
    if library(a) == "torch":
        return xp.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return xp.eye(a.shape[-1], dtype=a.dtype)


def detach(a: Array) -> Array:
    """`a` without its history; itself where the library records none."""
    return a.detach() if library(a) == "torch" else a


def take_along(a: Array, index: Array) -> Array:
    """The entries of `a` at `index` along the last axis; the others broadcast."""
    xp = namespace(a)
    take = xp.take_along_dim if library(a) == "torch" else xp.take_along_axis
    return take(a, index, -1)


def take(a: Array, index: np.ndarray, axis: int) -> Array:
    """The parts of `a` at these places along one axis, in their order: a copy."""
    xp = namespace(a)
    if library(a) == "torch":
        return xp.index_select(a, axis, xp.as_tensor(index, device=a.device))
    return xp.take(a, xp.asarray(index), axis=axis)


def roll(a: Array, shifts: tuple[int, ...]) -> Array:
    """`a` with its first axes moved in a circle, by so many places each: a copy."""
    axes = tuple(range(len(shifts)))
    return namespace(a).roll(a, shifts, axes)  # torch calls them dims, by the same position


def copy(a: Array) -> Array:
    """The same numbers in memory of their own."""
    return a.clone() if library(a) == "torch" else a.copy()


def on_host(a: Array) -> Array:
    """The same memory as a numpy array, where that can be; elsewhere `a` itself.

    It can for what lies in the memory of the CPU, in a precision that numpy has. Comparing arrays
    and looking for infinities is several times as fast there as in torch.
    """
    if library(a) != "torch" or a.device.type != "cpu" or dtype_name(a) == "bfloat16":
        return a
    return a.detach().numpy()


def is_mapped(a: Array) -> bool:
    """Whether `a` stands for many arrays inside torch.func.vmap: no number can be read from it.

    Other transforms of torch.func may lie around that one.
    """
    if library(a) != "torch":
        return False
    asked = namespace(a)._C._functorch  # none of these questions has a public name
    names = ("is_batchedtensor", "is_legacy_batchedtensor")
    questions = [getattr(asked, name) for name in names if hasattr(asked, name)]
    while True:
        if any(question(a) for question in questions):
            return True
        if not asked.is_functorch_wrapped_tensor(a):
            return False
        a = asked.get_unwrapped(a)


def is_readable(a: Array) -> bool:
    """Whether the host may look at a number of `a` and go on by it.

    It may not inside torch.func.vmap, where `a` stands for many arrays, nor while torch.compile,
    torch.export or torch.func.linearize looks at the program and there are no numbers yet.
    """
    if library(a) != "torch":
        return True
    if namespace(a).compiler.is_compiling() or a.is_meta or _is_traced():
        return False
    return not is_mapped(a)


def _is_traced() -> bool:
    """Whether torch records the operations of this thread instead of only computing them."""
    tracing = sys.modules.get("torch.fx.experimental.proxy_tensor")  # whoever traces imports it
    return tracing is not None and tracing.get_proxy_mode() is not None


def batch_size(a: Array) -> int:
    """How many matrices `a` holds, (..., n, n), with all that torch.func.vmap maps over."""
    if 0 in a.shape:
        return 0
    whole = a
    if library(a) == "torch":
        asked = namespace(a)._C._functorch  # neither question has a public name
        if hasattr(asked, "is_functorch_wrapped_tensor"):
            while asked.is_functorch_wrapped_tensor(whole):
                whole = asked.get_unwrapped(whole)
    # by the count of numbers, as the mapped dimension may be any of them
    size = whole.numel() if library(a) == "torch" else whole.size
    return size // (a.shape[-1] * a.shape[-2])  # type: ignore[no-any-return]


def bit_sums(a: Array) -> Array:
    """The bits of each entry as a whole number, summed over the batch: (b, ...) -> (k,) integers.

    A changed bit of any entry changes its sum, whatever the number means: a NaN that stays is no
    change. Only changes that cancel out over the batch go unnoticed. Sums take a third of the time
    of a comparison with a copy, and of the memory a b-th. Where they are a multiple of eight bytes,
    neighbouring entries form one number.
    """
    xp = namespace(a)
    size = a.dtype.itemsize
    wide = 8 if a[0].nbytes % 8 == 0 else size
    if library(a) == "torch":
        flat = a.detach().contiguous().view(a.shape[0], -1)
        return flat.view(getattr(xp, f"int{8 * wide}")).sum(0)
    return xp.ascontiguousarray(a).reshape(a.shape[0], -1).view(f"i{wide}").sum(0)


def poison(a: Array) -> None:
    """Allocate what `a` takes, fill it with NaN, and free it."""
    xp = namespace(a)
    xp.full_like(a, xp.nan)


def inverse(a: Array) -> Array:
    """A^{-1}. A singular matrix gives non-finite entries, and the rest of its batch is unharmed."""
    linalg = namespace(a).linalg
    if library(a) == "torch":
        return linalg.inv_ex(a).inverse  # `inv` would stop at one, and wait for the device to know
    try:
        return linalg.inv(a)  # cupy reports nothing; numpy raises for the whole batch
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return np.full_like(a, np.nan)
        return np.stack([inverse(matrix) for matrix in a])


def inverse_and_log_determinant(a: Array) -> tuple[Array, Array]:
    """A^{-1} and log |det A|, (..., 1, 1): of one LU factorisation where the library shares it."""
    xp = namespace(a)
    if library(a) == "torch":
        lu, pivots, _ = xp.linalg.lu_factor_ex(a)
        log = diagonal(lu).abs().log().sum(-1)[..., None, None]
        return xp.linalg.lu_solve(lu, pivots, eye_like(a).expand_as(a)), log
    return inverse(a), xp.linalg.slogdet(a)[1][..., None, None]


def solve(a: Array, b: Array) -> Array:
    """A^{-1} B, without torch's wait for the device to report a singular matrix.

    Its solution is not finite, and the rest of its batch is unharmed.
    """
    linalg = namespace(a).linalg
    if library(a) == "torch":
        return linalg.solve_ex(a, b).result
    try:
        return linalg.solve(a, b)  # cupy reports nothing; numpy raises for the whole batch
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return np.full_like(b, np.nan)
        return np.stack([solve(*each) for each in zip(a, b, strict=True)])


def svd(a: Array, driver: str | None = None) -> tuple[Array, Array, Array]:
    """Thin U, s, Vᵀ. A driver is torch's word for a cuSOLVER routine."""
    linalg = namespace(a).linalg
    if driver is None:
        return linalg.svd(a, full_matrices=False)  # type: ignore[no-any-return]
    return linalg.svd(a, full_matrices=False, driver=driver)  # type: ignore[no-any-return]


def quiet(a: Array) -> AbstractContextManager[Any]:
    """Numpy warns where the others return inf or nan; the harness reports those as a status."""
    return np.errstate(all="ignore") if library(a) == "numpy" else nullcontext()


def dtype_name(a: Array) -> str:
    """`float32`, however the library prints it."""
    return str(a.dtype).removeprefix("torch.")


def epsilon(a: Array) -> float:
    """Spacing of the dtype of `a` at 1."""
    return float(namespace(a).finfo(a.dtype).eps)


def product_unit(a: Array) -> float:
    """Unit roundoff of a product of matrices like `a`, as the library is set: tf32 counts."""
    if library(a) == "torch" and a.is_cuda and dtype_name(a) == "float32":
        exact = namespace(a).get_float32_matmul_precision() == "highest"
        return 2.0**-24 if exact else 2.0**-11
    return epsilon(a) / 2


def from_numpy(x: np.ndarray, *, like: Array) -> Array:
    """A copy of `x` with the library, dtype and device of `like`."""
    xp = namespace(like)
    if library(like) == "torch":
        return xp.tensor(x, dtype=like.dtype, device=like.device)
    return xp.array(x, dtype=like.dtype)


def to_numpy(a: Array) -> np.ndarray:
    """A float64 copy on the host."""
    if library(a) == "torch":
        return a.detach().cpu().double().numpy()  # type: ignore[no-any-return]
    a = a.get() if library(a) == "cupy" else a
    return np.array(a, dtype=np.float64)


def empty(library: str, device: str, precision: str) -> Array:
    """A zero-length array that carries library, device and dtype, for `like=`."""
    xp = importlib.import_module(library)
    dtype = getattr(xp, STORAGE[precision])
    if library == "torch":
        return xp.empty(0, dtype=dtype, device=device)
    return xp.empty(0, dtype=dtype)
