"""Compilation and launch of the kernels by CuPy, for torch and CuPy arrays.

A variant is compiled once per device. Torch arrays are passed as addresses and the kernel runs on
torch's current stream, so that there is no copy and no second memory pool.
"""

import importlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import NotInstalled, Unsupported
from mssbench.methods.kernels.planner import Launch, Limits
from mssbench.methods.kernels.source import OPTIONS, source
from mssbench.methods.kernels.variants import Variant

# Bytes of dynamic shared memory that a kernel may use without opting in to more (CUDA C++
# Programming Guide).
_OPT_IN = 48 * 1024


class Driver:
    """Launches kernels on one GPU for the arrays of one library."""

    def __init__(self, cupy: Any, library: str, device: int) -> None:
        self._cupy, self._device = cupy, device
        self._present_device = cupy.cuda.runtime.getDevice
        # The private function returns the address of torch's current stream alone; the public one
        # would create an object in every call.
        torch = sys.modules["torch"] if library == "torch" else None
        self._stream_address = None if torch is None else torch._C._cuda_getCurrentRawStream
        self.limits = _limits(cupy, device)  # the resources that a launch may use

    def launch(self, launch: Launch, given: Sequence[Array | None], values: Sequence[Any]) -> None:
        """Queue a kernel on the current stream.

        given: the arrays that are its first arguments, with None for a missing one. values: its
        further arguments, numpy scalars and structures that are passed by value. This function is
        the host time of a call, so that it looks up nothing twice.
        """
        kernel = _kernel(self._cupy, self._device, launch.variant)
        stream = None  # the current stream of CuPy
        if self._stream_address is not None:
            given = [None if x is None else x.data_ptr() for x in given]
            stream = _stream(self._stream_address(self._device))

        grid, block, arguments = (launch.blocks,), (launch.variant.threads,), (*given, *values)
        if self._present_device() == self._device:
            kernel(grid, block, arguments, shared_mem=launch.shared_bytes, stream=stream)
            return
        with self._cupy.cuda.Device(self._device):
            kernel(grid, block, arguments, shared_mem=launch.shared_bytes, stream=stream)


def driver_of(a: Array) -> Driver:
    """Return the driver for the library and GPU of an array.

    Raises Unsupported for an array on a CPU, and NotInstalled without CuPy.
    """
    library = arrays.library(a)
    if library == "numpy" or (library == "torch" and not a.is_cuda):
        raise Unsupported(
            "this method is a CUDA kernel, and the matrices are on a CPU: move them to a GPU, or "
            "take another method"
        )
    cupy = sys.modules.get("cupy") or _import_cupy()
    return _driver(cupy, library, a.device.id if library == "cupy" else a.device.index)


_driver = lru_cache(Driver)


def _import_cupy() -> Any:
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise NotInstalled(
            "this method needs CuPy, which cannot be imported: pip install 'mssbench[cuda13]', or "
            f"'mssbench[cuda12]' for a driver of CUDA 12 ({error})"
        ) from None


class _Stream(NamedTuple):
    """A stream of torch, reduced to the attribute `ptr` that a launch by CuPy reads."""

    ptr: int


_stream = lru_cache(maxsize=64)(_Stream)


@lru_cache
def _limits(cupy: Any, device: int) -> Limits:
    properties = cupy.cuda.runtime.getDeviceProperties(device)

    return Limits(
        shared_per_block=properties["sharedMemPerBlockOptin"],
        shared_per_processor=properties["sharedMemPerMultiprocessor"],
        threads_per_processor=properties["maxThreadsPerMultiProcessor"],
        registers_per_processor=properties["regsPerMultiprocessor"],
        blocks_per_processor=properties.get("maxBlocksPerMultiProcessor", 16),
        processors=properties["multiProcessorCount"],
        tensor_cores=properties["major"] >= 8,
    )


@lru_cache
def _kernel(cupy: Any, device: int, variant: Variant) -> Any:
    """Return the kernel compiled for the device. CuPy also caches compiled kernels on disk."""
    with cupy.cuda.Device(device):
        module = cupy.RawModule(code=source(variant), options=OPTIONS)
        kernel = module.get_function(variant.symbol)
        if variant.shared_bytes > _OPT_IN:
            kernel.max_dynamic_shared_size_bytes = variant.shared_bytes
    return kernel
