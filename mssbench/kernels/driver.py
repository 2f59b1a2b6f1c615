"""CuPy as the way to a GPU: compiles a variant once, launches it where the array's library works.

Torch arrays go as addresses, on torch's current stream: no copy, and no second pool of memory.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import NotInstalled, Unsupported
from mssbench.kernels.planner import Launch, Limits
from mssbench.kernels.source import OPTIONS, source
from mssbench.kernels.variants import Variant

_OPT_IN = 48 * 1024  # bytes of shared memory, beyond which a kernel has to ask


class Driver:
    """The GPU that an array lies on."""

    def __init__(self, cupy: Any, a: Array) -> None:
        self._cupy, self._torch = cupy, arrays.library(a) == "torch"
        self._device: int = a.device.index or 0 if self._torch else a.device.id
        self._torch_device = a.device if self._torch else None

    @property
    def limits(self) -> Limits:
        """What a launch may ask for."""
        return _limits(self._cupy, self._device)

    def launch(self, launch: Launch, arguments: Sequence[Any]) -> None:
        """Queue a kernel. arguments: arrays, None for no array, and numpy scalars or structures."""
        kernel = _kernel(self._cupy, self._device, launch.variant)
        given = tuple(map(self._argument, arguments))
        with self._cupy.cuda.Device(self._device), self._stream():
            kernel((launch.blocks,), (launch.variant.threads,), given,
                   shared_mem=launch.shared_bytes)  # fmt: skip

    def _argument(self, x: Any) -> Any:
        if x is None:
            return 0  # CuPy sends it as eight bytes: a null pointer
        return x.data_ptr() if self._torch and hasattr(x, "data_ptr") else x

    @contextmanager
    def _stream(self) -> Iterator[None]:
        """The stream on which the array's library queues its own work, as CuPy's current one."""
        if not self._torch:
            yield
            return
        stream = sys.modules["torch"].cuda.current_stream(self._torch_device)
        streams = self._cupy.cuda
        if hasattr(streams.Stream, "from_external") and hasattr(stream, "__cuda_stream__"):
            own = streams.Stream.from_external(stream)
        else:  # CuPy < 14
            own = streams.ExternalStream(stream.cuda_stream, self._device)
        with own:
            yield


def driver_of(a: Array) -> Driver:
    """The way to the GPU of an array.

    Raises Unsupported for an array on a CPU, and NotInstalled without CuPy.
    """
    library = arrays.library(a)
    if library == "numpy" or (library == "torch" and not a.is_cuda):
        raise Unsupported("a CUDA kernel: the matrices are on a CPU")
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise NotInstalled(
            f"CuPy launches this kernel: pip install 'mssbench[cuda13]' ({error})"
        ) from None
    return Driver(cupy, a)


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
