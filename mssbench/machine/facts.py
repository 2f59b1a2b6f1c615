"""Collect the facts of this machine: hardware, driver, versions of packages, and settings.

Clocks, governors, power limits and thread counts are read and never changed.
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
# Packages of peer methods. They are not part of IDENTITY, because their versions affect only their
# own rows, and are part of the code hash of these.
PEERS = ("geoopt", "jax", "linear_operator", "ott-jax", "POT", "pyriemann", "spd_learn")
# From 12 digits, as many as a table shows, to the 40 of a whole SHA-1.
_COMMIT = re.compile(r"([0-9a-f]{12,40})(\+dirty)?")


def package_version(name: str) -> str | None:
    """Return the installed version of a package, or None."""
    # CuPy's wheels are named after the CUDA version for which they are built.
    names = ("cupy", "cupy-cuda13x", "cupy-cuda12x") if name == "cupy" else (name,)
    for distribution in names:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def installed() -> str:
    """Return a hash, 12 hex digits, of the installed packages with their versions, and the GPUs."""
    distributions = {
        path.name
        for folder in filter(None, sys.path)
        for pattern in ("*.dist-info", "*.egg-info")
        for path in Path(folder).glob(pattern)
    }

    text = json.dumps([sorted(distributions), cuda_devices()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_this_machine(facts: Mapping[str, Any]) -> bool:
    """Whether the facts of a run describe this machine, as far as is known without torch.

    The processor, the granted cores and their quota, the GPUs and the version of torch must agree.
    A run compares more facts, see records.facts.IDENTITY, but these need torch, whose import takes
    a second.
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
    """Return all facts of this machine by name, as this process sees them now. Imports torch."""
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
    """Return the facts of the GPUs and the CUDA settings of torch."""
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
    """Return the version of the NVIDIA driver, or None."""
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        text = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # without NVML the version of the kernel module is used
        return text_of("/sys/module/nvidia/version")
    return text.decode() if isinstance(text, bytes) else str(text)


def _blas(np: Any, torch: Any) -> dict[str, str]:
    """Return the names of the BLAS libraries with which numpy and torch are built."""
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
    """Return the commit of this code, from git or, without a repository, from MSSBENCH_COMMIT.

    The first 12 digits, with `+dirty` if files of the package differ from the commit. None for a
    wheel, and for a copy of the files without the variable.
    """
    return _commit_of_git(Path(__file__).parent.parent.parent) or _commit_of_variable()


def _commit_of_git(checkout: Path) -> str | None:
    """Return the commit of a repository; None if there is none, or git cannot read it."""
    if not (checkout / ".git").exists():
        return None
    head = git("rev-parse", "HEAD", folder=checkout)
    if not head.ok:
        return None
    dirty = git("status", "--porcelain", "mssbench", folder=checkout)
    return head.text[:12] + ("+dirty" if dirty.text else "")


def _commit_of_variable() -> str | None:
    """Return the commit in MSSBENCH_COMMIT, shortened to 12 digits; None if it is no commit.

    Other texts are ignored, so that no free text gets into the facts.
    """
    match = _COMMIT.fullmatch(os.environ.get("MSSBENCH_COMMIT", "").strip())
    return None if match is None else match[1][:12] + (match[2] or "")
