"""The kernels' own source, compiled for a CPU: a driver that does what a GPU would be asked."""

import ctypes
import fcntl
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mssbench.methods.kernels.planner import LIMITS, Launch, Limits
from mssbench.methods.kernels.source import source
from mssbench.methods.kernels.variants import Variant

HERE = Path(__file__).parent / "emulation"
# Of each family: the parameters of its kernels, and how an entry passes them on.
_ENTRIES = {
    "iterate": (
        "const T* a, T* y, T* z, const Schedule<T>* s, int n, int batch, T epsilon",
        "a, y, z, *s, n, batch, epsilon",
    ),
    "lyapunov": (
        "const T* y, const T* z, const T* g, T* s, const Schedule<T>* h, int n, "
        "int batch, T epsilon",
        "y, z, g, s, *h, n, batch, epsilon",
    ),
    "jacobi": (
        "const T* a, T* y, T* z, T* w, T* v, int n, int batch, T epsilon",
        "a, y, z, w, v, n, batch, epsilon",
    ),
    "loewner": (
        "const T* w, const T* v, const T* g, T* s, int inverse, int n, int batch",
        "w, v, g, s, inverse, n, batch",
    ),
}


def compiled(variant: Variant, folder: Path, *flags: str) -> Any:
    """The variant's kernel as a function of a library; compiled once a folder."""
    ctype = {"float32": "float", "float64": "double"}[variant.dtype]
    parameters, passed = _ENTRIES[variant.family]
    text = (
        f'#include "tensor_cores.h"\n{source(variant)}\nusing T = {ctype};\n'
        f'extern "C" int run({parameters}, EMULATED_LAUNCH) {{\n'
        f"  EMULATED({variant.symbol}({passed}));\n}}\n"
    )
    library = folder / f"{variant.symbol}{''.join(flags)}.so".replace("=", "-")
    with library.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second finds what the first has compiled
        if not library.exists():
            _compile(text, library, flags)
    found = ctypes.CDLL(str(library))
    found.emulated_message.restype = ctypes.c_char_p
    return found


def _compile(text: str, library: Path, flags: Sequence[str]) -> None:
    made, cpp = library.with_suffix(".part"), library.with_suffix(".cpp")
    cpp.write_text(text)
    command = [
        "g++",
        "-std=c++17",
        "-O1",
        "-ffp-contract=off",
        "-fPIC",
        "-shared",
        "-I",
        HERE,
        "-Wno-unknown-pragmas",
        *flags,
        "-o",
        made,
        cpp,
    ]
    # not a relative of the runs that are tested meanwhile, see runs.relatives
    env = {k: v for k, v in os.environ.items() if k != "MSSBENCH_LOCKS"}
    subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, env=env)
    made.rename(library)  # whole at once, should this process be killed


@dataclass
class Emulation:
    """A driver for numpy arrays: launches run here. order and without: see emulator.h."""

    folder: Path
    limits: Limits = LIMITS["sm_90"]
    order: int = 0
    without: str = ""
    flags: tuple[str, ...] = ()
    launches: list[Launch] = field(default_factory=list)

    def launch(self, launch: Launch, given: Sequence[Any], values: Sequence[Any]) -> None:
        """Run a kernel. Raises RuntimeError for what would be an error or a race on a GPU."""
        self.launches.append(launch)
        library = compiled(launch.variant, self.folder, *self.flags)
        variant = launch.variant
        done = library.run(
            *map(_argument, [*given, *values]),
            ctypes.c_uint(launch.blocks),
            ctypes.c_uint(variant.threads),
            ctypes.c_size_t(launch.shared_bytes),
            ctypes.c_uint(self.order),
            self.without.encode(),
        )
        if done:
            raise RuntimeError(library.emulated_message().decode())


def _argument(x: Any) -> Any:
    if x is None:
        return ctypes.c_void_p(None)
    if isinstance(x, np.ndarray):
        assert x.flags.c_contiguous
        return ctypes.c_void_p(x.ctypes.data)
    if hasattr(x, "data_ptr"):  # torch, on a CPU
        assert x.is_contiguous()
        return ctypes.c_void_p(x.data_ptr())
    return {np.float32: ctypes.c_float, np.float64: ctypes.c_double, np.int32: ctypes.c_int}[
        type(x)
    ](x)
