"""Find the devices of this machine and the libraries that can use them, without importing them."""

import ctypes
import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mssbench.errors import NotInstalled, Unavailable

# Environment variables that limit the number of threads of a library.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Gpu(NamedTuple):
    """A CUDA device: its name and its identifier, as the driver reports them."""

    name: str
    uuid: str  # 32 hex digits, the same in every process and container


@cache
def cuda_devices() -> tuple[Gpu, ...]:
    """Return the visible CUDA devices, from the driver, without importing torch.

    They are in the order of the PCI bus. `CUDA_VISIBLE_DEVICES` counts in the same order in this
    process and its workers.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()

    gpus = []
    for i in range(count.value):
        device, name, uuid = (
            ctypes.c_int(),
            ctypes.create_string_buffer(128),
            (ctypes.c_ubyte * 16)(),
        )
        driver.cuDeviceGet(ctypes.byref(device), i)
        driver.cuDeviceGetName(name, 128, device)
        driver.cuDeviceGetUuid(uuid, device)
        gpus.append(Gpu(name.value.decode(errors="replace"), bytes(uuid).hex()))
    return tuple(gpus)


def check_library(library: str, device: str) -> None:
    """Raise NotInstalled or Unavailable, with the remedy, if a library cannot use a device here.

    If torch or cupy is imported already, the library itself is asked; otherwise the driver.
    """
    if find_spec(library) is None:
        cupy = "pip install 'mssbench[cuda13]' (or cuda12, as your driver's CUDA is)"
        remedy = cupy if library == "cupy" else f"pip install {library}"
        lacking = ", nor is there a CUDA device" if device == "cuda" and not cuda_devices() else ""
        raise NotInstalled(f"{library} is not installed{lacking}: {remedy}")
    if device != "cuda":
        return

    if not cuda_devices():
        raise Unavailable("no CUDA device: the NVIDIA driver shows none (see `mssbench doctor`)")
    if library == "torch" and not _torch_is_built_for_cuda():
        raise Unavailable("this torch is built without CUDA: install the CUDA build of torch")
    if (
        library == "torch"
        and "torch" in sys.modules
        and not sys.modules[library].cuda.is_available()
    ):
        raise Unavailable("torch cannot use the GPU: its CUDA is newer than the driver, or none")

    if library == "cupy" and "cupy" in sys.modules:
        cuda = sys.modules["cupy"].cuda
        try:
            cuda.runtime.getDeviceCount()
        except cuda.runtime.CUDARuntimeError as error:
            raise Unavailable(f"cupy cannot use the GPU: {error}") from error


@cache
def _torch_is_built_for_cuda() -> bool:
    """Whether torch is built with CUDA, from its version file: importing torch takes a second."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return False
    text = text_of(f"{spec.submodule_search_locations[0]}/version.py") or ""
    return re.search(r"^cuda\b[^=\n]*= *['\"]", text, re.MULTILINE) is not None


def default_device() -> str:
    """Return `cuda` if torch could use a GPU, else `cpu`, without importing torch."""
    try:
        check_library("torch", "cuda")
    except (NotInstalled, Unavailable):
        return "cpu"
    return "cuda"


def text_of(path: str) -> str | None:
    """Return the text of a small file, stripped of white space; None if it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
