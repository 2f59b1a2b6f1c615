"""Roots by the Triton kernel of triton_iterate.py, on tensor cores, in one launch for a batch.

a and the roots: (..., n, n) in float32, torch on a GPU; n <= 32 with operands in tf32x3, else 64.
"""

import importlib
import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

from mssbench.arrays import Array, dtype_name, namespace
from mssbench.errors import NotInstalled, Unsupported
from mssbench.methods.kernels import effort
from mssbench.methods.kernels.variants import KernelNorm, Operands
from mssbench.methods.method import Root, Wanted
from mssbench.methods.minimax import Factor

_MOST_TERMS = 3


class Shape(NamedTuple):
    """The padded size of a program's matrices, and the number of its warps."""

    size: int
    warps: int


# The shapes that need no local memory beside registers, found by compiling for sm_90. With tf32x3,
# n = 64 would need 88 bytes of it. For n = 128 the operands do not fit a block's shared memory.
_ROUNDED = (Shape(16, 1), Shape(32, 4), Shape(64, 8))
SHAPES: dict[Operands, tuple[Shape, ...]] = {
    "tf32x3": (Shape(16, 1), Shape(32, 2)),
    "tf32": _ROUNDED,
    "bfloat16": _ROUNDED,
}


def iterate(
    a: Array, factors: Sequence[Factor], norm: KernelNorm, wanted: Wanted, operands: Operands
) -> Root:
    """Return the wanted roots by the coupled iteration with these factors.

    norm: the upper bound of the eigenvalues by which A is divided. operands: the rounding of the
    operands of products.
    Raises Unsupported if the kernel does not fit the batch, and NotInstalled without Triton.
    """
    torch = namespace(a)
    shape = shape_for(int(a.shape[-1]), dtype_name(a), factors, operands)
    if not (a.is_cuda or interpreted()):
        raise Unsupported(
            "this method is a Triton kernel, and the matrices are on a CPU: move them to a GPU, or "
            "take another method"
        )

    flat = a.detach().reshape(-1, *a.shape[-2:]).contiguous()
    sqrt, isqrt = (torch.empty_like(flat) if name in wanted else None for name in ("sqrt", "isqrt"))
    if len(flat):
        unused = flat  # a valid pointer for a root that is not wanted, and not written
        # Triton launches on the current device.
        with torch.cuda.device(flat.device) if flat.is_cuda else nullcontext():
            _module().iterate[(len(flat),)](
                flat,
                unused if sqrt is None else sqrt,
                unused if isqrt is None else isqrt,
                _coefficients(torch, tuple(factors), flat.device),
                flat.shape[-1],
                **constants(shape, norm, operands, factors, wanted),
                num_warps=shape.warps,
            )
        if effort.listeners:
            effort.announce("triton", flat, factors, (), rounded=True)

    return Root(
        sqrt=None if sqrt is None else sqrt.reshape(a.shape),
        isqrt=None if isqrt is None else isqrt.reshape(a.shape),
    )


def shape_for(n: int, dtype: str, factors: Sequence[Factor], operands: Operands) -> Shape:
    """Return the smallest shape for n rows. Raises Unsupported with the reason if none fits."""
    if dtype != "float32":
        raise Unsupported(f"this kernel takes float32, not {dtype}")
    if max(map(len, factors)) > _MOST_TERMS:
        raise Unsupported("the Triton kernel takes factors of degree 3 and 5: set degree=5")

    fitting = [s for s in SHAPES[operands] if s.size >= n]
    if not fitting:
        most = SHAPES[operands][-1].size
        raise Unsupported(f"a program with {operands} holds matrices of n <= {most}: n is {n}")
    return fitting[0]


def constants(
    shape: Shape, norm: KernelNorm, operands: Operands, factors: Sequence[Factor], wanted: Wanted
) -> dict[str, Any]:
    """Return the compile-time constants of the kernel."""
    return {
        "N": shape.size,
        "NORM": norm,
        "OPERANDS": operands,
        "INTERPRETED": interpreted(),
        "STEPS": len(factors),
        "SQUARE": any(len(f) > 2 for f in factors),
        "WANT_SQRT": "sqrt" in wanted,
        "WANT_ISQRT": "isqrt" in wanted,
    }


def interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU, as TRITON_INTERPRET=1 requests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _module() -> Any:
    try:
        return importlib.import_module("mssbench.methods.kernels.triton_iterate")
    except ImportError as error:
        raise NotInstalled(
            "this method needs Triton, which comes with torch for CUDA: pip install triton "
            f"({error})"
        ) from None


@lru_cache(maxsize=256)
def _coefficients(torch: Any, factors: tuple[Factor, ...], device: Any) -> Any:
    """Return the coefficients, (steps, 3), on the device.

    They are cached, because copying them to the device would fail in a CUDA graph capture.
    """
    rows = [(*factor, 0.0, 0.0)[:_MOST_TERMS] for factor in factors]
    return torch.tensor(rows, dtype=torch.float32, device=device)
