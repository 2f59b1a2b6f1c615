"""The settings under which a library is measured: its stream, its allocator, its product rule."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

import torch

from mssbench.errors import Unsupported
from mssbench.machine.devices import check_library


@contextmanager
def product_rule(precision: str) -> Iterator[None]:
    """TF32 for the cells that ask for it, and for no others."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def library(name: str) -> AbstractContextManager[Any]:
    """CuPy works on torch's current stream, from memory of its own; the others need nothing.

    Raises Unsupported for a CuPy that takes products of float32 in tf32.
    """
    return _cupy() if name == "cupy" else nullcontext()


def check_cupy_products() -> None:
    """Raise Unsupported where CuPy's products of float32 would be tf32, which no row says."""
    if os.environ.get("CUPY_TF32", "0") not in ("", "0"):
        raise Unsupported(
            "CUPY_TF32 is set, so that CuPy multiplies float32 matrices in tf32: unset it"
        )


@contextmanager
def _cupy() -> Iterator[None]:
    """Each library keeps what it frees. What one has kept is given back before the other works."""
    check_cupy_products()
    cupy = import_module("cupy")
    check_library("cupy", "cuda")  # once more, now that CuPy itself can be asked
    torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.cuda.empty_cache()
    stream = torch.cuda.current_stream()
    if hasattr(cupy.cuda.Stream, "from_external") and hasattr(stream, "__cuda_stream__"):
        theirs = cupy.cuda.Stream.from_external(stream)
    else:
        theirs = cupy.cuda.ExternalStream(stream.cuda_stream)  # CuPy < 14
    try:
        with theirs:
            yield
    finally:
        cupy.get_default_memory_pool().free_all_blocks()


@contextmanager
def torch_allocator() -> Iterator[None]:
    """CuPy takes its memory from torch's caching allocator inside the block, and then no longer.

    One counter then sees the memory of both libraries. Every allocation passes through Python on
    its way, so nothing is timed inside the block.
    """
    cupy, torch = sys.modules["cupy"], sys.modules["torch"]
    torch.cuda.init()  # its allocator does not exist before
    if not _allocators:
        _allocators.append(
            cupy.cuda.PythonFunctionAllocator(
                lambda size, device: torch.cuda.caching_allocator_alloc(
                    size, device, cupy.cuda.get_current_stream().ptr
                ),
                lambda pointer, device: torch.cuda.caching_allocator_delete(pointer),  # noqa: ARG005
            )
        )
    with cupy.cuda.using_allocator(_allocators[0].malloc):
        yield


_allocators: list[Any] = []  # one, which outlives every array that was allocated by it
