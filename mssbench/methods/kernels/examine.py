"""What only a GPU can say of the kernels: what each takes as loaded, and a launch of each family.

python -m mssbench.methods.kernels.examine table                          JSON, with all versions
python -m mssbench.methods.kernels.examine launch [--size 13] [--batch 9] [FAMILY ...]

The second is for tools that look at a program from outside: compute-sanitizer, ncu.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from mssbench.errors import NotInstalled, Unsupported
from mssbench.methods.kernels import driver, fused, triton_roots
from mssbench.methods.kernels.planner import blocks_at_once
from mssbench.methods.kernels.variants import VARIANTS, Operands, Variant
from mssbench.methods.method import Root
from mssbench.methods.minimax import taylor

READY = "ready"  # printed once the GPU has done something: what fails later is a kernel's doing
_DIFFERENT = 64  # matrices
_BOTH = frozenset(("sqrt", "isqrt"))
_STEPS = (taylor(3),) * 12


class Given(NamedTuple):
    """Well-conditioned matrices and cotangents on a GPU, (b, n, n), and eigenpairs of the first."""

    a: Any
    g: Any
    w: Any
    v: Any


def _triton(given: Given) -> Root:
    """Triton's kernel; torch's arrays are the only ones it takes."""
    torch = importlib.import_module("torch")
    a = torch.from_dlpack(given.a)
    operands: Operands = "tf32x3" if a.shape[-1] <= 32 else "tf32"
    return triton_roots.iterate(a, _STEPS, "trace", _BOTH, operands)


# A root is its own square's: Y = A serves the gradient as well as any.
LAUNCHES: dict[str, Callable[[Given], Any]] = {
    "iterate": lambda x: fused.iterate(x.a, _STEPS, "min_ws_minc", _BOTH),
    "lyapunov": lambda x: fused.lyapunov(Root(sqrt=x.a), "sqrt", x.g, _STEPS),
    "jacobi": lambda x: fused.jacobi(x.a, frozenset((*_BOTH, "eigen"))),
    "loewner": lambda x: fused.loewner((x.w, x.v), "sqrt", x.g),
    "iterate_tensor_cores": lambda x: fused.iterate(x.a, _STEPS, "min_ws_minc", _BOTH, "tf32x3"),
    "lyapunov_tensor_cores": lambda x: fused.lyapunov(Root(x.a), "sqrt", x.g, _STEPS, "tf32x3"),
    "triton": _triton,
}


def launch(families: Sequence[str], n: int, batch: int) -> list[str]:
    """Launch one kernel of each and wait for it. The families whose result is not finite."""
    cupy = importlib.import_module("cupy")
    given = Given(*map(cupy.asarray, matrices(n, batch)))
    cupy.cuda.runtime.deviceSynchronize()
    _say(READY)
    wrong = []
    for family in families:
        try:
            found = LAUNCHES[family](given)
            cupy.cuda.runtime.deviceSynchronize()
        except (NotInstalled, Unsupported) as refused:
            _say(f"{family}: {refused}")
            continue
        finite = all(map(_finite, _arrays(found)))
        wrong += [] if finite else [family]
        _say(f"{family}: n = {n}, B = {batch}, {'finite' if finite else 'NOT FINITE'}")
    return wrong


def matrices(n: int, batch: int) -> Given:
    """The same on the host, in float32: a few of them over and over, which takes a GPU as long."""
    few = min(batch, _DIFFERENT)
    x = np.random.default_rng(0).standard_normal((2, few, n, 4 * n))
    a, g = (x @ x.swapaxes(-1, -2) / (4 * n)).astype(np.float32)
    return Given(*(np.resize(m, (batch, *m.shape[1:])) for m in (a, g, *np.linalg.eigh(a))))


def _arrays(found: Any) -> list[Any]:
    """Those in a result, which is one array or a Root."""
    if not isinstance(found, Root):
        return [found]
    return [x for x in (found.sqrt, found.isqrt, *(found.eigen or ())) if x is not None]


def _finite(x: Any) -> bool:
    host = x.cpu().numpy() if hasattr(x, "cpu") else x.get() if hasattr(x, "get") else x
    return bool(np.isfinite(host).all())


def table() -> dict[str, Any]:
    """Every kernel as this GPU loads it, and what it was compiled and loaded by.

    Compiled side by side, a kernel a process: CuPy keeps them on disk, for whoever comes next.
    """
    cupy = importlib.import_module("cupy")
    cuda = cupy.cuda.runtime
    workers = min(16, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        kernels = list(pool.map(loaded, VARIANTS))
    versions = {
        "driver": cuda.driverGetVersion(),
        "runtime": cuda.runtimeGetVersion(),
        "nvrtc": list(cupy.cuda.nvrtc.getVersion()),
        "capability": cupy.cuda.Device(0).compute_capability,
    }
    return {"cuda": versions, "kernels": kernels}


def loaded(variant: Variant) -> dict[str, Any]:
    """What one kernel takes; `error` if it does not compile or load, or has no room here."""
    cupy = importlib.import_module("cupy")
    row: dict[str, Any] = {
        "kernel": variant.symbol,
        "threads": variant.threads,
        "shared_bytes": variant.shared_bytes,
        "fits": True,
    }
    limits = driver.driver_of(cupy.zeros((1, 1, 1), np.float32)).limits
    too_large = variant.shared_bytes > limits.shared_per_block
    if too_large or (variant.operands and not limits.tensor_cores):
        return row | {"fits": False}
    try:
        kernel = driver._kernel(cupy, 0, variant)
        registers = int(kernel.num_regs)
        blocks = blocks_at_once(variant, registers, limits)
        return row | {
            "registers": registers,
            "local_bytes": int(kernel.local_size_bytes),
            "most_threads": int(kernel.max_threads_per_block),
            "blocks_at_once": blocks,
            "matrices_at_once": blocks * variant.per_block,
        }
    except Exception as error:  # one that does not compile must not hide the others
        return row | {"error": f"{type(error).__name__}: {error}"[:2000]}


def _say(text: str) -> None:
    print(text, flush=True)  # a kernel that hangs or aborts must not take with it what was said


def main() -> int:
    """0; 1 if a kernel does not load, or its result is not finite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("table", "launch"))
    parser.add_argument("family", nargs="*", help=", ".join(LAUNCHES))
    parser.add_argument("--size", type=int, default=13)
    parser.add_argument("--batch", type=int, default=9)
    asked = parser.parse_args()
    if unknown := sorted(set(asked.family) - set(LAUNCHES)):
        parser.error(f"no family {', '.join(unknown)}. Known: {', '.join(LAUNCHES)}")
    if asked.what == "launch":
        return int(bool(launch(asked.family or tuple(LAUNCHES), asked.size, asked.batch)))
    found = table()
    _say(json.dumps(found, indent=1, default=str))
    return int(any("error" in row for row in found["kernels"]))


if __name__ == "__main__":
    sys.exit(main())
