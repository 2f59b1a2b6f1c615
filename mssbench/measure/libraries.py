"""Set up a library for measuring: its CUDA stream, its allocator, and TF32 products."""

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
    """Allow TF32 products inside the block if `precision` is tf32, and forbid them otherwise."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def library(name: str) -> AbstractContextManager[Any]:
    """Return a context manager that sets up the library `name` for measurements in its block.

    For CuPy it selects torch's current stream, and returns to the device the memory that torch
    keeps for itself; at the end, that which CuPy keeps. Other libraries need no set-up.
    Entering it raises Unsupported if CuPy multiplies float32 matrices in tf32, and NotInstalled or
    Unavailable if CuPy cannot use a GPU.
    """
    return _cupy() if name == "cupy" else nullcontext()


def check_cupy_products() -> None:
    """Raise Unsupported if CuPy multiplies float32 matrices in tf32.

    No column of the result table would show this.
    """
    if os.environ.get("CUPY_TF32", "0") not in ("", "0"):
        raise Unsupported(
            "CUPY_TF32 is set, so that CuPy multiplies float32 matrices in tf32: unset it"
        )


@contextmanager
def _cupy() -> Iterator[None]:
    """Run CuPy on torch's current stream inside the block.

    Torch and CuPy each keep the memory that they free, in pools of their own. A pool is returned to
    the device before the other library works.
    """
    check_cupy_products()
    cupy = import_module("cupy")
    check_library("cupy", "cuda")  # again, since CuPy itself is imported now
    torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.cuda.empty_cache()

    stream = torch.cuda.current_stream()
    if hasattr(cupy.cuda.Stream, "from_external") and hasattr(stream, "__cuda_stream__"):
        cupy_stream = cupy.cuda.Stream.from_external(stream)
    else:
        cupy_stream = cupy.cuda.ExternalStream(stream.cuda_stream)  # CuPy < 14

    try:
        with cupy_stream:
            yield
    finally:
        cupy.get_default_memory_pool().free_all_blocks()


@contextmanager
def torch_allocator() -> Iterator[None]:
    """Let CuPy take its memory from torch's caching allocator inside the block.

    One counter then sees the memory of both libraries. Every allocation passes through Python, so
    nothing is timed inside the block.
    """
    cupy, torch = sys.modules["cupy"], sys.modules["torch"]
    torch.cuda.init()  # creates the allocator

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


_allocators: list[Any] = []  # at most one, which must outlive the arrays allocated by it
