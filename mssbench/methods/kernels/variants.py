"""The table of all compiled kernel variants, with the threads and shared memory that they need.

A variant works for any n up to its `size`, with padding for the remaining rows. Adding a variant
takes one line here: the emulation, the compile gate and the planner iterate over these tables.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias, get_args

Family: TypeAlias = Literal["iterate", "lyapunov", "jacobi", "loewner"]
Operands: TypeAlias = Literal["tf32x3", "tf32", "bfloat16"]  # rounding of tensor-core products
KernelNorm: TypeAlias = Literal["trace", "frobenius", "min_ws_minc"]  # the bounds, see norms.py
BYTES = {"float32": 4, "float64": 8}
MOST_STEPS, MOST_TERMS = 32, 5  # of a schedule: MSS_MOST_STEPS, MSS_MOST_TERMS in the kernels
TERMS = (2, 3, 5)  # the numbers of terms that a factor may have: degrees 3, 5 and 9
_WARP = 32  # threads of a warp; also the rows and columns of its tile


# Compared by identity, because hashing the fields would cost microseconds per call.
@dataclass(frozen=True, eq=False)
class Variant:
    """One kernel, named `mss_<family>_<name>`. A family is what it computes, such as `jacobi`."""

    family: Family
    dtype: str  # float32 | float64
    size: int  # N, a multiple of `tile`
    tile: int  # R: each thread or warp computes R x R numbers; jacobi: the threads per matrix
    per_block: int  # matrices per block
    buffers: int = 0  # of N x (N + 4) numbers per matrix; iterate: 3, or 4 to hold W²
    operands: Operands | None = None  # None for products by fma
    roomy: bool = False  # compiled for one block per multiprocessor, to avoid register spills

    @property
    def name(self) -> str:
        """Dtype, size, tile if unusual, d9 if W² has a buffer, operands: `f32_n64r8d9_tf32`."""
        kind = {"float32": "f32", "float64": "f64"}[self.dtype]
        tile = f"r{self.tile}" if self.engine == "Threads" and self.tile > 4 else ""
        many = "d9" if self.family == "iterate" and self.buffers > 3 else ""
        operands = f"_{self.operands}" if self.operands else ""
        return f"{kind}_n{self.size}{tile}{many}{operands}"

    @property
    def symbol(self) -> str:
        """The name of the kernel in the compiled code."""
        return f"mss_{self.family}_{self.name}"

    @property
    def engine(self) -> str:
        """The template that computes tiles of a product, by threads or warps: see common.cuh."""
        if self.family == "jacobi":
            return ""
        return "Warps" if self.operands else "Threads"

    @property
    def declaration(self) -> str:
        """The line of CUDA C++ that instantiates the kernel."""
        ctype = {"float32": "float", "float64": "double"}[self.dtype]
        bounds = f"({self.threads}, 1)" if self.roomy else f"({self.threads})"
        rest = {
            "": f"{self.size}, {self.tile}",
            "Threads": f"Threads<{ctype}, {self.size}, {self.tile}>",
            "Warps": f"Warps<{self.size}, MSS_{str(self.operands).upper()}>",
        }[self.engine]
        buffers = [self.buffers] if self.family == "iterate" else []
        given = [self.name, bounds, ctype, self.per_block, *buffers, rest]
        return f"MSS_{self.family.upper()}({', '.join(map(str, given))})"

    @cached_property
    def matrix_threads(self) -> int:
        """The threads that work on one matrix."""
        if self.family == "jacobi":
            return self.tile
        edge = self.size // self.tile
        return edge * (edge + 1) * (_WARP if self.operands else 1)

    @property
    def threads(self) -> int:
        """The threads of a block."""
        return self.matrix_threads * self.per_block

    @cached_property
    def numbers(self) -> int:
        """How many numbers a matrix takes in shared memory, by the formulas of the kernels."""
        matrix, scratch = self.size * (self.size + 4), self.matrix_threads + 2 * self.size
        scratch = (scratch + 3) // 4 * 4
        return {
            "iterate": self.buffers * matrix + scratch,
            "lyapunov": 4 * matrix + scratch,
            "jacobi": 2 * matrix + 2 * self.size + 4,
            "loewner": 4 * matrix + self.size,
        }[self.family]

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a block."""
        return self.numbers * self.per_block * BYTES[self.dtype]


# Variants for which the compiler spills registers unless it may assume one block per
# multiprocessor: on sm_90, the last two on other architectures.
_ROOMY = frozenset(
    (
        "iterate_f32_n16",
        "iterate_f32_n32d9",
        "iterate_f32_n64d9",
        "lyapunov_f32_n8",
        "lyapunov_f32_n16",
        "lyapunov_f32_n32",
        "lyapunov_f32_n48",
        "lyapunov_f32_n64",
        "lyapunov_f64_n8",
        "lyapunov_f64_n16",
        "lyapunov_f64_n32",
        "lyapunov_f64_n48",
        "lyapunov_f32_n64_tf32",
        "lyapunov_f32_n96_tf32",
        "lyapunov_f32_n64_bfloat16",
        "lyapunov_f32_n96_bfloat16",
        "loewner_f32_n16",
        "loewner_f32_n32",
        "lyapunov_f32_n64_tf32x3",
        "lyapunov_f32_n32_tf32",
    )
)


def _iterate(dtype: str, size: int, tile: int, per_block: int, buffers: int) -> Variant:
    return Variant("iterate", dtype, size, tile, per_block, buffers)


def _warps(family: Family, size: int, per_block: int, buffers: int, operands: Operands) -> Variant:
    return Variant(family, "float32", size, _WARP, per_block, buffers, operands)


# If there are two variants of one size, the first is for small batches, and the second for large
# ones: it runs more matrices on a multiprocessor at once.
_ALL: tuple[Variant, ...] = (
    *(
        _iterate("float32", n, r, m, b)
        for b in (3, 4)
        for n, r, m in ((8, 2, 8), (16, 4, 8), (32, 4, 4), (48, 4, 2), (64, 4, 1), (96, 8, 1))
    ),
    _iterate("float32", 64, 8, 4, 3),
    _iterate("float32", 128, 8, 1, 3),
    *(
        _iterate("float64", n, r, m, b)
        for b in (3, 4)
        for n, r, m in ((8, 2, 8), (16, 4, 8), (32, 4, 2), (48, 4, 1), (64, 4, 1))
    ),
    _iterate("float64", 88, 4, 1, 3),
    *(
        Variant("lyapunov", "float32", n, r, m)
        for n, r, m in ((8, 2, 8), (16, 4, 8), (32, 4, 4), (48, 4, 2), (64, 4, 1), (96, 8, 1))
    ),
    *(
        Variant("lyapunov", "float64", n, r, m)
        for n, r, m in ((8, 2, 8), (16, 4, 8), (32, 4, 2), (48, 4, 1), (64, 4, 1))
    ),
    *(
        Variant("jacobi", dtype, n, threads, m)
        for dtype in ("float32", "float64")
        for n, threads, m in ((8, 16, 8), (16, 32, 4), (32, 128, 1), (64, 256, 1))
    ),
    *(
        Variant("loewner", dtype, n, r, m)
        for dtype in ("float32", "float64")
        for n, r, m in ((8, 2, 8), (16, 4, 8), (32, 4, 2), (64, 4, 1))
    ),
    *(
        _warps("iterate", n, m, 3, o)
        for o in get_args(Operands)
        for n, m in ((32, 4), (64, 1), (96, 1), (128, 1))
    ),
    *(_warps("iterate", n, m, 4, "tf32x3") for n, m in ((32, 4), (64, 1), (96, 1))),
    *(
        _warps("lyapunov", n, m, 0, o)
        for o in get_args(Operands)
        for n, m in ((32, 4), (64, 1), (96, 1))
    ),
)
VARIANTS = tuple(replace(v, roomy=v.symbol.removeprefix("mss_") in _ROOMY) for v in _ALL)
