"""The registers and memory that each kernel needs, as reported by the compiler, without a GPU.

pip install cuda-core nvidia-cuda-nvrtc
python -m mssbench.methods.kernels.resources sm_90           # or --json, for sm_80, 90, 100 and 120
"""

import importlib
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mssbench.errors import NotInstalled
from mssbench.methods.kernels.planner import LIMITS, blocks_at_once
from mssbench.methods.kernels.source import OPTIONS, source
from mssbench.methods.kernels.triton_roots import Shape, constants
from mssbench.methods.kernels.variants import VARIANTS, Operands, Variant
from mssbench.methods.minimax import Factor

_REPORT = re.compile(
    r"Compiling entry function '(\w+)' for.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads.*?Used (\d+) registers",
    re.DOTALL,
)


class Resources(NamedTuple):
    """Resources per thread. `stack` and `spilled` are bytes, and should be 0."""

    registers: int
    stack: int
    spilled: int


def compile_for(variant: Variant, arch: str) -> Resources:
    """Compile a variant for an architecture such as sm_90, and return its resources.

    Raises NotInstalled without the compiler.
    """
    core = _core()
    options = core.ProgramOptions(
        arch=arch,
        std="c++17",
        fma="--fmad=false" not in OPTIONS,
        ftz="--ftz=true" in OPTIONS,
        ptxas_options=["-v"],
    )

    log = io.StringIO()
    core.Program(source(variant), "c++", options).compile("cubin", logs=log)
    report = _REPORT.search(log.getvalue())
    if report is None or report[1] != variant.symbol:
        raise ValueError(
            f"the compiler's log has no report for {variant.symbol}: {log.getvalue()[:500]}"
        )

    stack, stores, loads, registers = map(int, report.groups()[1:])
    return Resources(registers, stack, stores + loads)


def _core() -> Any:
    try:
        return importlib.import_module("cuda.core")
    except ImportError as error:
        raise NotInstalled(
            "compiling a kernel needs cuda-core and nvidia-cuda-nvrtc: pip install cuda-core "
            f"nvidia-cuda-nvrtc ({error})"
        ) from None


class TritonResources(NamedTuple):
    """Resources of a Triton kernel: those of `Resources`, and bytes of shared memory."""

    registers: int
    stack: int
    spilled: int
    shared_bytes: int


def compile_triton(
    shape: Shape, factors: Sequence[Factor], operands: Operands, capability: int
) -> TritonResources:
    """Compile the kernel of triton_iterate.py for sm_<capability>, and return its resources.

    Raises NotInstalled without Triton.
    """
    try:
        triton = importlib.import_module("triton")
        backend = importlib.import_module("triton.backends.compiler")
        kernel = importlib.import_module("mssbench.methods.kernels.triton_iterate").iterate
    except ImportError as error:
        raise NotInstalled(
            f"compiling this kernel needs Triton: pip install triton ({error})"
        ) from None

    given = constants(shape, "min_ws_minc", operands, factors, frozenset(("sqrt", "isqrt")))
    pointers = dict.fromkeys("AYZC", "*fp32")
    signature = pointers | {"n": "i32"} | dict.fromkeys(given, "constexpr")
    source = triton.compiler.ASTSource(kernel, signature, given)
    target = backend.GPUTarget("cuda", capability, 32)
    made = triton.compile(source, target=target, options={"num_warps": shape.warps})

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        tool = Path(str(triton.__file__)).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        report = subprocess.run(
            [str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout

    numbers = {k: int(v) for k, v in re.findall(r"(REG|STACK|LOCAL):(\d+)", report)}
    return TritonResources(numbers["REG"], numbers["STACK"], numbers["LOCAL"], made.metadata.shared)


def table(arch: str, variants: Iterable[Variant] = VARIANTS) -> dict[str, dict[str, int]]:
    """Return resources and occupancy of every variant that fits the architecture, by its symbol."""
    limits = LIMITS[arch]
    rows = {}

    for variant in variants:
        if variant.shared_bytes > limits.shared_per_block or (
            variant.operands and not limits.tensor_cores
        ):
            continue

        taken = compile_for(variant, arch)
        blocks = blocks_at_once(variant, taken.registers, limits)
        rows[variant.symbol] = {
            **taken._asdict(),
            "threads": variant.threads,
            "shared_bytes": variant.shared_bytes,
            "blocks_at_once": blocks,
            "matrices_at_once": blocks * variant.per_block,
        }
    return rows


if __name__ == "__main__":
    if sys.argv[1:] == ["--json"]:
        tables = {arch: table(arch) for arch in ("sm_80", "sm_90", "sm_100", "sm_120")}
        print(json.dumps(tables, indent=1))
        raise SystemExit
    for arch in sys.argv[1:] or list(LIMITS):
        print(arch)
        for symbol, row in table(arch).items():
            print(f"  {symbol:30} " + "  ".join(f"{k} {v}" for k, v in row.items()))
