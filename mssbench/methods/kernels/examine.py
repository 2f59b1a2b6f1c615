"""Examination of the kernels on a GPU: the resources of each, or one launch of each family.

python -m mssbench.methods.kernels.examine table                          JSON, with all versions
python -m mssbench.methods.kernels.examine launch [--size 13] [--batch 9] [FAMILY ...]

The second is to be run under tools that observe a program, such as compute-sanitizer and ncu.
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

# Printed after the first work on the GPU. A failure after this line is caused by a kernel.
READY = "ready"
_DIFFERENT = 64  # distinct matrices; larger batches repeat them, to keep the host work small
_BOTH = frozenset(("sqrt", "isqrt"))
_STEPS = (taylor(3),) * 12


class Given(NamedTuple):
    """Well-conditioned matrices and cotangents, (b, n, n), and the eigenpairs of the matrices."""

    a: Any
    g: Any
    w: Any
    v: Any


def _triton(given: Given) -> Root:
    """Launch the Triton kernel, which takes only torch arrays."""
    torch = importlib.import_module("torch")
    a = torch.from_dlpack(given.a)
    operands: Operands = "tf32x3" if a.shape[-1] <= 32 else "tf32"
    return triton_roots.iterate(a, _STEPS, "trace", _BOTH, operands)


# One launch of each family. The gradient takes A for the root Y, which is the root of A².
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
    """Launch one kernel of each family, such as `jacobi`; return those with non-finite results."""
    cupy = importlib.import_module("cupy")
    given = Given(*map(cupy.asarray, matrices(n, batch)))
    cupy.cuda.runtime.deviceSynchronize()
    _say(READY)

    wrong = []
    for family in families:
        try:
            result = LAUNCHES[family](given)
            cupy.cuda.runtime.deviceSynchronize()
        except (NotInstalled, Unsupported) as refused:
            _say(f"{family}: {refused}")
            continue

        finite = all(map(_finite, _arrays(result)))
        wrong += [] if finite else [family]
        _say(f"{family}: n = {n}, B = {batch}, {'finite' if finite else 'NOT FINITE'}")
    return wrong


def matrices(n: int, batch: int) -> Given:
    """Return the input of all launches, as numpy arrays of float32.

    The batch repeats a few different matrices.
    """
    few = min(batch, _DIFFERENT)
    x = np.random.default_rng(0).standard_normal((2, few, n, 4 * n))
    a, g = (x @ x.swapaxes(-1, -2) / (4 * n)).astype(np.float32)
    return Given(*(np.resize(m, (batch, *m.shape[1:])) for m in (a, g, *np.linalg.eigh(a))))


def _arrays(result: Any) -> list[Any]:
    """Return the arrays in a result, which is one array or a Root."""
    if not isinstance(result, Root):
        return [result]
    return [x for x in (result.sqrt, result.isqrt, *(result.eigen or ())) if x is not None]


def _finite(x: Any) -> bool:
    host = x.cpu().numpy() if hasattr(x, "cpu") else x.get() if hasattr(x, "get") else x
    return bool(np.isfinite(host).all())


def table() -> dict[str, Any]:
    """Return the resources of every kernel on this GPU, and the versions of driver and compiler.

    The kernels are compiled in parallel processes; CuPy caches them on disk.
    """
    cupy = importlib.import_module("cupy")
    cuda = cupy.cuda.runtime
    workers = min(16, os.cpu_count() or 1)  # at most 16, to bound the memory of the processes

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
    """Return the resources of one kernel, with `error` if it does not compile or load.

    `fits` is false, and the resources are missing, if the kernel needs more than this GPU has.
    """
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
    except Exception as error:  # a kernel that does not compile must not hide the others
        return row | {"error": f"{type(error).__name__}: {error}"[:2000]}


def _say(text: str) -> None:
    print(text, flush=True)  # flushed, so that it is not lost if a kernel hangs or aborts


def main() -> int:
    """Examine the kernels as the command line asks, see the module.

    Returns the exit code: 1 if a kernel fails to load or a result is not finite, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__)

    parser.add_argument("what", choices=("table", "launch"))
    parser.add_argument("family", nargs="*", help=", ".join(LAUNCHES))
    parser.add_argument("--size", type=int, default=13)
    parser.add_argument("--batch", type=int, default=9)
    options = parser.parse_args()
    if unknown := sorted(set(options.family) - set(LAUNCHES)):
        parser.error(f"no family {', '.join(unknown)}. Known: {', '.join(LAUNCHES)}")

    if options.what == "launch":
        return int(bool(launch(options.family or tuple(LAUNCHES), options.size, options.batch)))
    report = table()
    _say(json.dumps(report, indent=1, default=str))
    return int(any("error" in row for row in report["kernels"]))


if __name__ == "__main__":
    sys.exit(main())
