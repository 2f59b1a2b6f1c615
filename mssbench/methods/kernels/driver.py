"""CuPy as the way to a GPU: compiles a variant once, launches it where the array's library works.

Torch arrays go as addresses, on torch's current stream: no copy, and no second pool of memory.
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

_OPT_IN = 48 * 1024  # bytes of shared memory, beyond which a kernel has to ask


class Driver:
    """A GPU, for the arrays of one library."""

    def __init__(self, cupy: Any, library: str, device: int) -> None:
        self._cupy, self._device = cupy, device
        self._present_device = cupy.cuda.runtime.getDevice
        # Of torch's current stream the address alone: the public way to it makes an object first.
        torch = sys.modules["torch"] if library == "torch" else None
        self._stream_address = None if torch is None else torch._C._cuda_getCurrentRawStream
        self.limits = _limits(cupy, device)  # what a launch may ask for

    def launch(self, launch: Launch, given: Sequence[Array | None], values: Sequence[Any]) -> None:
        """Queue a kernel, whose arguments are arrays, None for one that is not there, and values.

        given: the arrays. values: numpy scalars and structures, which go by value. This is what a
        call costs beside the GPU: it asks for nothing twice.
        """
        kernel = _kernel(self._cupy, self._device, launch.variant)
        stream = None  # CuPy's own current one
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
    """The way to the GPU of an array.

    Raises Unsupported for an array on a CPU, and NotInstalled without CuPy.
    """
    library = arrays.library(a)
    if library == "numpy" or (library == "torch" and not a.is_cuda):
        raise Unsupported("a CUDA kernel: the matrices are on a CPU")
    cupy = sys.modules.get("cupy") or _import_cupy()
    return _driver(cupy, library, a.device.id if library == "cupy" else a.device.index)


_driver = lru_cache(Driver)


def _import_cupy() -> Any:
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise NotInstalled(
            f"CuPy launches this kernel: pip install 'mssbench[cuda13]' ({error})"
        ) from None


class _Stream(NamedTuple):
    """A stream of torch's, as far as a launch by CuPy asks: `stream.ptr` is all that it reads."""

    ptr: int


_stream = lru_cache(maxsize=64)(_Stream)


@lru_cache
def _limits(cupy: Any, device: int) -> Limits:
    known = cupy.cuda.runtime.getDeviceProperties(device)
    return Limits(
        shared_per_block=known["sharedMemPerBlockOptin"],
        shared_per_processor=known["sharedMemPerMultiprocessor"],
        threads_per_processor=known["maxThreadsPerMultiProcessor"],
        registers_per_processor=known["regsPerMultiprocessor"],
        blocks_per_processor=known.get("maxBlocksPerMultiProcessor", 16),
        processors=known["multiProcessorCount"],
        tensor_cores=known["major"] >= 8,
    )


@lru_cache
def _kernel(cupy: Any, device: int, variant: Variant) -> Any:
    """Compiled for the device; CuPy keeps what it compiles on disk as well."""
    with cupy.cuda.Device(device):
        module = cupy.RawModule(code=source(variant), options=OPTIONS)
        kernel = module.get_function(variant.symbol)
        if variant.shared_bytes > _OPT_IN:
            kernel.max_dynamic_shared_size_bytes = variant.shared_bytes
    return kernel
