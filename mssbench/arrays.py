"""Array operations whose names or arguments differ between numpy, cupy and torch.

A method takes its namespace from its input, `xp = namespace(a)`, and never imports numpy, cupy
or torch itself. Functions that have the same name in all three libraries (`@`, `xp.sum`,
`xp.linalg.eigh`, ...) are called directly. This module imports numpy alone. It recognises torch
and cupy arrays by their types; only `empty` imports the library whose name it is given.
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
# The dtype in which each precision stores its numbers. A precision also determines how products
# round: tf32 stores float32 and rounds the operands of products.
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
    """Return the module of the array library that `a` belongs to."""
    return sys.modules[library_of(type(a))]


# Cache of `library_of`, which runs in every timed call.
_LIBRARY_OF: dict[type, str] = {}


def library_of(kind: type) -> str:
    """Return the name of the library that defines an array type: `numpy`, `cupy` or `torch`.

    For a subclass it is that of the base class. For any other type it is empty.
    """
    if kind not in _LIBRARY_OF:
        names = (base.__module__.partition(".")[0] for base in kind.__mro__)
        _LIBRARY_OF[kind] = next((name for name in names if name in LIBRARIES), "")
    return _LIBRARY_OF[kind]


def library(a: Array) -> str:
    """Return the name of the library of `a`: `numpy`, `cupy` or `torch`."""
    return library_of(type(a))


def transpose(a: Array) -> Array:
    """Return the transpose as a view: (..., m, n) -> (..., n, m)."""
    # Batched gradients (`is_grads_batched`) support `transpose` but not `swapaxes` in torch.
    return a.transpose(-1, -2) if library(a) == "torch" else a.swapaxes(-1, -2)


def symmetrize(a: Array) -> Array:
    """Return the symmetric part (A + Aᵀ) / 2."""
    return (a + transpose(a)) / 2


def dusted(a: Array) -> Array:
    """Return `a` with entries of magnitude up to ε² / 2 set to 0, to avoid subnormal products.

    ε is the spacing of the dtype at 1; all other entries keep every bit. An iteration that
    converges to the identity squares its off-diagonal entries until they are subnormal, and a CPU
    takes a hundred times as long for a product of subnormal numbers. On a GPU they cost nothing,
    and `a` is returned unchanged. The derivative is that of the identity map, also at entries that
    are flushed.
    """
    if library(a) == "cupy" or (library(a) == "torch" and a.is_cuda):
        return a

    xp, limit = namespace(a), epsilon(a) ** 2 / 2
    if library(a) == "numpy":
        return xp.where(xp.abs(a) <= limit, xp.zeros((), a.dtype), a)
    # hardshrink reads the memory once; (a + ε) - ε would read it twice, and would round.
    kept = xp.nn.functional.hardshrink(a, limit)
    return a - xp.where(kept == 0, a, 0.0).detach() if a.requires_grad else kept


def plus(x: Array, alpha: float, y: Array) -> Array:
    """Return X + alpha Y, in one pass over memory if the library has a fused operation."""
    return namespace(x).add(x, y, alpha=alpha) if library(x) == "torch" else x + alpha * y


def diagonal(a: Array) -> Array:
    """Return the diagonals: (..., n, n) -> (..., n)."""
    xp = namespace(a)
    return a.diagonal(0, -2, -1) if library(a) == "torch" else xp.diagonal(a, 0, -2, -1)


def trace(a: Array) -> Array:
    """Return the trace of each matrix, (..., n, n) -> (..., 1, 1), broadcastable against `a`."""
    return namespace(a).sum(diagonal(a), axis=-1)[..., None, None]


def frobenius_norm(a: Array) -> Array:
    """Return each matrix's Frobenius norm, (..., n, n) -> (..., 1, 1), to broadcast with `a`."""
    return namespace(a).linalg.norm(a, axis=(-2, -1), keepdims=True)


def amax(a: Array, axis: int | tuple[int, ...]) -> Array:
    """Return the largest value along `axis`, which is kept with length 1."""
    xp = namespace(a)
    return xp.amax(a, axis, True) if library(a) == "torch" else xp.amax(a, axis, keepdims=True)


def widened(a: Array) -> Array:
    """Convert half precision to float32, the shortest dtype with linear solves; else return `a`."""
    return a.float() if dtype_name(a) in ("bfloat16", "float16") else a


def like(a: Array, other: Array) -> Array:
    """Return `a` converted to the dtype of `other`."""
    return a.to(other.dtype) if library(a) == "torch" else a.astype(other.dtype, copy=False)


def eye_like(a: Array) -> Array:
    """Return the identity (n, n) with the dtype and device of `a`; it broadcasts over the batch."""
    xp = namespace(a)
    if library(a) == "torch":
        return xp.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return xp.eye(a.shape[-1], dtype=a.dtype)


def detach(a: Array) -> Array:
    """Return `a` without its autograd history; numpy and cupy arrays are returned unchanged."""
    return a.detach() if library(a) == "torch" else a


def take_along(a: Array, index: Array) -> Array:
    """Return the entries of `a` at `index` along the last axis; the other axes broadcast."""
    xp = namespace(a)
    take = xp.take_along_dim if library(a) == "torch" else xp.take_along_axis
    return take(a, index, -1)


def take(a: Array, index: np.ndarray, axis: int) -> Array:
    """Return a copy of the slices of `a` at the positions `index` along `axis`, in that order."""
    xp = namespace(a)
    if library(a) == "torch":
        return xp.index_select(a, axis, xp.as_tensor(index, device=a.device))
    return xp.take(a, xp.asarray(index), axis=axis)


def roll(a: Array, shifts: tuple[int, ...]) -> Array:
    """Return a copy of `a` whose leading axes are rotated, axis i by shifts[i] places."""
    axes = tuple(range(len(shifts)))
    # By position, because torch calls the third argument dims.
    return namespace(a).roll(a, shifts, axes)


def copy(a: Array) -> Array:
    """Return a copy that shares no memory with `a`."""
    return a.clone() if library(a) == "torch" else a.copy()


def on_host(a: Array) -> Array:
    """Return a numpy view of a torch tensor on the CPU; return any other array unchanged.

    Tensors in bfloat16 are returned unchanged as well, because numpy has no such dtype. numpy
    compares arrays and looks for infinities several times as fast as torch.
    """
    if library(a) != "torch" or a.device.type != "cpu" or dtype_name(a) == "bfloat16":
        return a
    return a.detach().numpy()


def is_mapped(a: Array) -> bool:
    """Whether `a` is a batched tensor inside torch.func.vmap, whose values cannot be read.

    Such a tensor is recognised even if other transforms of torch.func have wrapped it.
    """
    if library(a) != "torch":
        return False

    functorch = namespace(a)._C._functorch  # torch has no public functions for these tests
    names = ("is_batchedtensor", "is_legacy_batchedtensor")
    tests = [getattr(functorch, name) for name in names if hasattr(functorch, name)]
    while True:
        if any(test(a) for test in tests):
            return True
        if not functorch.is_functorch_wrapped_tensor(a):
            return False
        a = functorch.get_unwrapped(a)


def is_readable(a: Array) -> bool:
    """Whether Python code may read values of `a` and branch on them.

    False inside torch.func.vmap, where `a` stands for many arrays, and while torch.compile,
    torch.export or torch.func.linearize traces the program, when there are no values yet.
    """
    if library(a) != "torch":
        return True
    if namespace(a).compiler.is_compiling() or a.is_meta or _is_traced():
        return False
    return not is_mapped(a)


def _is_traced() -> bool:
    """Whether torch records the operations of this thread instead of only computing them."""
    # Every tracer imports this module, so that it need not be imported here.
    tracing = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return tracing is not None and tracing.get_proxy_mode() is not None


def batch_size(a: Array) -> int:
    """Return how many matrices `a` (..., n, n) holds, including those that vmap maps over."""
    if 0 in a.shape:
        return 0

    whole = a
    if library(a) == "torch":
        functorch = namespace(a)._C._functorch  # torch has no public functions for this
        if hasattr(functorch, "is_functorch_wrapped_tensor"):
            while functorch.is_functorch_wrapped_tensor(whole):
                whole = functorch.get_unwrapped(whole)

    # Computed from the number of entries, because any dimension may be the mapped one.
    size = whole.numel() if library(a) == "torch" else whole.size
    return size // (a.shape[-1] * a.shape[-2])  # type: ignore[no-any-return]


def bit_sums(a: Array) -> Array:
    """Sum the bit patterns of the entries, read as integers, over the batch: (b, ...) -> (k,).

    k is the number of such integers in one matrix. The sums detect whether an array was written to.
    A changed bit of any entry changes its sum; a NaN that stays the same NaN does not. Only changes
    that cancel out over the batch are missed. This takes a third of the time of a comparison with a
    copy, and 1/b of its memory. If the size of a matrix is a multiple of 8 bytes, neighbouring
    entries are read together as one integer.
    """
    xp = namespace(a)
    size = a.dtype.itemsize
    wide = 8 if a[0].nbytes % 8 == 0 else size
    if library(a) == "torch":
        flat = a.detach().contiguous().view(a.shape[0], -1)
        return flat.view(getattr(xp, f"int{8 * wide}")).sum(0)
    return xp.ascontiguousarray(a).reshape(a.shape[0], -1).view(f"i{wide}").sum(0)


def poison(a: Array) -> None:
    """Allocate an array of the size of `a`, fill it with NaN, and free it.

    A method that reads memory it has not written then gets NaN instead of a previous result.
    """
    xp = namespace(a)
    xp.full_like(a, xp.nan)


def inverse(a: Array) -> Array:
    """Return A^{-1}, (..., n, n).

    The result for a singular matrix is not finite; the other matrices of the batch are unaffected.
    """
    linalg = namespace(a).linalg
    if library(a) == "torch":
        # `inv` would raise for a singular matrix, and would wait for the device to find out.
        return linalg.inv_ex(a).inverse

    try:
        return linalg.inv(a)  # cupy reports nothing; numpy raises for the whole batch
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return np.full_like(a, np.nan)
        return np.stack([inverse(matrix) for matrix in a])


def inverse_and_log_determinant(a: Array) -> tuple[Array, Array]:
    """Return A^{-1}, (..., n, n), and log |det A|, (..., 1, 1).

    In torch both come from one LU factorisation; numpy and cupy factorise twice.
    """
    xp = namespace(a)
    if library(a) == "torch":
        lu, pivots, _ = xp.linalg.lu_factor_ex(a)
        log = diagonal(lu).abs().log().sum(-1)[..., None, None]
        return xp.linalg.lu_solve(lu, pivots, eye_like(a).expand_as(a)), log
    return inverse(a), xp.linalg.slogdet(a)[1][..., None, None]


def solve(a: Array, b: Array) -> Array:
    """Return A^{-1} B without waiting for the device to report a singular matrix.

    The result for a singular matrix is not finite; the other matrices of the batch are unaffected.
    """
    linalg = namespace(a).linalg
    if library(a) == "torch":
        return linalg.solve_ex(a, b).result

    try:
        return linalg.solve(a, b)  # cupy reports nothing; numpy raises for the whole batch
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return np.full_like(b, np.nan)
        return np.stack([solve(*pair) for pair in zip(a, b, strict=True)])


def svd(a: Array, driver: str | None = None) -> tuple[Array, Array, Array]:
    """Return the thin singular value decomposition U, s, Vᵀ.

    driver: the cuSOLVER routine that torch calls on a GPU; None for the default of any library.
    """
    linalg = namespace(a).linalg
    if driver is None:
        return linalg.svd(a, full_matrices=False)  # type: ignore[no-any-return]
    return linalg.svd(a, full_matrices=False, driver=driver)  # type: ignore[no-any-return]


def quiet(a: Array) -> AbstractContextManager[Any]:
    """Return a context in which numpy does not warn about inf and nan, as torch and cupy do not.

    The harness reports results that are not finite as a status.
    """
    return np.errstate(all="ignore") if library(a) == "numpy" else nullcontext()


def dtype_name(a: Array) -> str:
    """Return the name of the dtype without the name of its library, such as `float32`."""
    return str(a.dtype).removeprefix("torch.")


def epsilon(a: Array) -> float:
    """Return the spacing of the dtype of `a` at 1."""
    return float(namespace(a).finfo(a.dtype).eps)


def product_unit(a: Array) -> float:
    """Return the unit roundoff of a product of matrices like `a`: of tf32 if torch uses tf32."""
    if library(a) == "torch" and a.is_cuda and dtype_name(a) == "float32":
        exact = namespace(a).get_float32_matmul_precision() == "highest"
        return 2.0**-24 if exact else 2.0**-11
    return epsilon(a) / 2


def from_numpy(x: np.ndarray, *, like: Array) -> Array:
    """Return a copy of `x` with the library, dtype and device of `like`."""
    xp = namespace(like)
    if library(like) == "torch":
        return xp.tensor(x, dtype=like.dtype, device=like.device)
    return xp.array(x, dtype=like.dtype)


def to_numpy(a: Array) -> np.ndarray:
    """Return a float64 copy of `a` on the host."""
    if library(a) == "torch":
        return a.detach().cpu().double().numpy()  # type: ignore[no-any-return]
    a = a.get() if library(a) == "cupy" else a
    with np.errstate(invalid="ignore"):  # uninitialised memory may hold signalling NaN
        return np.array(a, dtype=np.float64)


def empty(library: str, device: str, precision: str) -> Array:
    """Return an array of length zero of this library on this device, for use as `like=`.

    Its dtype is the one that stores the precision, for example float32 for tf32.
    """
    xp = importlib.import_module(library)
    dtype = getattr(xp, STORAGE[precision])
    if library == "torch":
        return xp.empty(0, dtype=dtype, device=device)
    return xp.empty(0, dtype=dtype)
