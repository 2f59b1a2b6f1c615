"""The facts beside a table: hardware, driver, versions, settings; and what can run here.

Only reads. Clocks, governors, power limits and thread counts are reported, never set.
"""

import ctypes
import hashlib
import importlib
import json
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from mssbench.errors import NotInstalled, Unavailable

# How many threads a library may start; each has its own name for it.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PACKAGES = ("mssbench", "torch", "numpy", "scipy", "pandas", "pyarrow", "cupy", "triton")
# Not in IDENTITY: a peer changes no rows but its own, and their code hash knows its version.
PEERS = ("geoopt", "jax", "linear_operator", "ott-jax", "POT", "pyriemann", "spd_learn")
# Facts that make two measurements comparable; the rest (load, time, temperature) is their weather.
IDENTITY = (
    "cpu", "cores", "threads", "torch_threads", "system", "python", "versions", "blas",
    "gpus", "driver", "cuda",
)  # fmt: skip
# At least as many digits as a table shows, at most those of a whole SHA-1.
_COMMIT = re.compile(r"([0-9a-f]{12,40})(\+dirty)?")


class Gpu(NamedTuple):
    """A CUDA device as its driver names it."""

    name: str
    uuid: str  # 32 hex digits, the same in every process and container


@cache
def cuda_devices() -> tuple[Gpu, ...]:
    """The CUDA devices that are visible, asked of the driver itself: no torch needed.

    In PCI order, in which `CUDA_VISIBLE_DEVICES` then counts for this process and its workers.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    found = []
    for i in range(count.value):
        device, name, uuid = (
            ctypes.c_int(),
            ctypes.create_string_buffer(128),
            (ctypes.c_ubyte * 16)(),
        )
        driver.cuDeviceGet(ctypes.byref(device), i)
        driver.cuDeviceGetName(name, 128, device)
        driver.cuDeviceGetUuid(uuid, device)
        found.append(Gpu(name.value.decode(errors="replace"), bytes(uuid).hex()))
    return tuple(found)


def package_version(name: str) -> str | None:
    """The installed version; CuPy's wheels are named after the CUDA they were built for."""
    names = ("cupy", "cupy-cuda13x", "cupy-cuda12x") if name == "cupy" else (name,)
    for each in names:
        try:
            return version(each)
        except PackageNotFoundError:
            continue
    return None


def installed() -> str:
    """12 hex digits over the releases of all packages that can be imported, and the GPUs."""
    found = {
        path.name
        for folder in filter(None, sys.path)
        for pattern in ("*.dist-info", "*.egg-info")
        for path in Path(folder).glob(pattern)
    }
    text = json.dumps([sorted(found), cuda_devices()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_library(library: str, device: str) -> None:
    """Raise NotInstalled or Unavailable, with the remedy, if cells of this kind cannot run here.

    Where torch or cupy is imported already its own word counts; else the driver's.
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
    """Read from torch's own version file: importing torch would take a second."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return False
    text = _read(f"{spec.submodule_search_locations[0]}/version.py") or ""
    return re.search(r"^cuda\b[^=\n]*= *['\"]", text, re.MULTILINE) is not None


def default_device() -> str:
    """`cuda` where torch could use one, else `cpu`. Imports nothing."""
    try:
        check_library("torch", "cuda")
    except (NotInstalled, Unavailable):
        return "cpu"
    return "cuda"


def describe() -> dict[str, Any]:
    """Every fact, measured now, in the process that measures. Imports torch."""
    import numpy as np
    import torch

    memory = psutil.virtual_memory()
    facts: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": {
            "physical": psutil.cpu_count(logical=False),
            "logical": psutil.cpu_count(),
            "granted": len(os.sched_getaffinity(0)),
        },
        "memory_bytes": memory.total,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in PACKAGES},
        "peers": {name: v for name in PEERS if (v := package_version(name))},
        "blas": _blas(np, torch),
        "threads": {name: os.environ.get(name) for name in THREAD_SETTINGS},
        "torch_threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cuda": torch.version.cuda,
        "gpus": [],
        "driver": None,
        "load": os.getloadavg(),
        "commit": _commit(),
    }
    if torch.cuda.is_available():
        facts |= _cuda_facts(torch)
    return facts


def identify(facts: dict[str, Any]) -> str:
    """12 hex digits over the facts that make two measurements comparable."""
    chosen = {name: facts.get(name) for name in IDENTITY}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:12]


def difference(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    """The first fact in which two machines differ, in words."""
    if before is None or now is None:
        return "the facts of one are not known"
    for name in IDENTITY:
        if before.get(name) != now.get(name):
            return f"{name}: {before.get(name)} then, {now.get(name)} now"
    return "though no fact that is known differs"


def _cuda_facts(torch: Any) -> dict[str, Any]:
    gpus = []
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        gpus.append(
            {
                "name": p.name,
                "memory_bytes": p.total_memory,
                "multiprocessors": p.multi_processor_count,
                "l2_bytes": getattr(p, "L2_cache_size", None),
                "capability": f"{p.major}.{p.minor}",
            }
        )
    return {
        "gpus": gpus,
        "driver": _driver_version(),
        "preferred_linalg_library": str(torch.backends.cuda.preferred_linalg_library()),
        "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def _driver_version() -> str | None:
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        text = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # NVML is a courtesy: without it the fact is simply unknown
        return _read("/sys/module/nvidia/version")
    return text.decode() if isinstance(text, bytes) else str(text)


def _cpu_model() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _blas(np: Any, torch: Any) -> dict[str, str]:
    build = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    config = torch.__config__.show()
    names = {
        "USE_MKL=ON": "MKL",
        "BLAS_INFO=open": "OpenBLAS",
        "BLAS_INFO=accelerate": "Accelerate",
    }
    return {
        "numpy": f"{build.get('name', 'unknown')} {build.get('version', '')}".strip(),
        "torch": next((name for mark, name in names.items() if mark in config), "unknown"),
    }


def _commit() -> str | None:
    """The commit of this code: as git says, or where no repository is, as `MSSBENCH_COMMIT` does.

    The first 12 digits, with `+dirty` where files of the package differ from it. None for a wheel,
    and for a copy of the files that nobody has told which commit it is.
    """
    return _commit_of_git(Path(__file__).parent.parent) or _commit_as_told()


def _commit_of_git(checkout: Path) -> str | None:
    """None where the folder is no repository, or where git is missing or refuses to read it."""
    if not (checkout / ".git").exists():
        return None
    git = ["git", "-C", str(checkout)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        if head.returncode:
            return None
        dirty = subprocess.run([*git, "status", "--porcelain", "mssbench"], capture_output=True)
    except OSError:
        return None
    return head.stdout.strip()[:12] + ("+dirty" if dirty.stdout.strip() else "")


def _commit_as_told() -> str | None:
    """The value of the variable, shortened as git's; None where it is not set or no commit.

    A table must not carry a free text in this place: what is no hash is left out.
    """
    told = _COMMIT.fullmatch(os.environ.get("MSSBENCH_COMMIT", "").strip())
    return None if told is None else told[1][:12] + (told[2] or "")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
