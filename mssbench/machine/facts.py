"""The facts beside a table: hardware, driver, versions, settings; and what can run here.

Only reads. Clocks, governors, power limits and thread counts are reported, never set.
"""

import hashlib
import importlib
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from mssbench.machine.devices import THREAD_SETTINGS, cuda_devices, text_of
from mssbench.machine.git import git
from mssbench.machine.processor import model, vector_extensions
from mssbench.machine.threads import granted_cores, quota

PACKAGES = ("mssbench", "torch", "numpy", "scipy", "pandas", "pyarrow", "cupy", "triton")
# Not in IDENTITY: a peer changes no rows but its own, and their code hash knows its version.
PEERS = ("geoopt", "jax", "linear_operator", "ott-jax", "POT", "pyriemann", "spd_learn")
# At least as many digits as a table shows, at most those of a whole SHA-1.
_COMMIT = re.compile(r"([0-9a-f]{12,40})(\+dirty)?")


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


def is_this_machine(facts: Mapping[str, Any]) -> bool:
    """Whether facts from beside a table describe this machine, as far as torch is not needed.

    The processor, the cores and the time on them that may be used, the GPUs and the version of
    torch must agree. A run compares more than these, see records.facts.IDENTITY, but importing
    torch takes a second.
    """
    gpus = [gpu["name"] for gpu in facts.get("gpus", ())]
    return bool(
        facts.get("cpu") == model()
        and facts.get("cores", {}).get("granted") == granted_cores()
        and facts.get("cores", {}).get("quota") == quota()
        and facts.get("versions", {}).get("torch") == package_version("torch")
        and gpus == [gpu.name for gpu in cuda_devices()]
    )


def describe() -> dict[str, Any]:
    """Every fact, measured now, in the process that measures. Imports torch."""
    import numpy as np
    import torch

    memory = psutil.virtual_memory()
    facts: dict[str, Any] = {
        "cpu": model(),
        "vector_extensions": vector_extensions(torch),
        "cores": {
            "physical": psutil.cpu_count(logical=False),
            "logical": psutil.cpu_count(),
            "granted": granted_cores(),
            "quota": quota(),
        },
        "memory_bytes": memory.total,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
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
        return text_of("/sys/module/nvidia/version")
    return text.decode() if isinstance(text, bytes) else str(text)


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
    return _commit_of_git(Path(__file__).parent.parent.parent) or _commit_as_told()


def _commit_of_git(checkout: Path) -> str | None:
    """None where the folder is no repository, or where git is missing or refuses to read it."""
    if not (checkout / ".git").exists():
        return None
    head = git("rev-parse", "HEAD", folder=checkout)
    if not head.ok:
        return None
    dirty = git("status", "--porcelain", "mssbench", folder=checkout)
    return head.text[:12] + ("+dirty" if dirty.text else "")


def _commit_as_told() -> str | None:
    """The value of the variable, shortened as git's; None where it is not set or no commit.

    A table must not carry a free text in this place: what is no hash is left out.
    """
    told = _COMMIT.fullmatch(os.environ.get("MSSBENCH_COMMIT", "").strip())
    return None if told is None else told[1][:12] + (told[2] or "")
