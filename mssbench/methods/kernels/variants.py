"""Every kernel that is compiled, with what it takes of a GPU. Pure data, for planner and tests.

A variant serves any n up to its `size`; the rows above n are padded. To add one is a line here: the
emulation, the compile gate and the planner go over these tables.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias, get_args

Family: TypeAlias = Literal["iterate", "lyapunov", "jacobi", "loewner"]
Operands: TypeAlias = Literal["tf32x3", "tf32", "bfloat16"]  # of products on tensor cores
Norm: TypeAlias = Literal["trace", "frobenius", "min_ws_minc"]  # which bound, see norms.py
BYTES = {"float32": 4, "float64": 8}
MOST_STEPS, MOST_TERMS = 32, 5  # of a schedule: MSS_MOST_STEPS, MSS_MOST_TERMS
TERMS = (2, 3, 5)  # of a factor
_WARP = 32  # threads, and rows and columns of its tile


@dataclass(frozen=True, eq=False)  # each is one: a hash of its fields would cost microseconds
class Variant:
    """One kernel: `mss_<family>_<name>`."""

    family: Family
    dtype: str  # float32 | float64
    size: int  # N, a multiple of `tile`
    tile: int  # R: R x R numbers of a product are one worker's; jacobi: threads of a matrix
    per_block: int  # matrices
    buffers: int = 0  # of N x (N + 4) numbers, of one matrix; iterate: 3, or 4 for W²
    operands: Operands | None = None  # None: products by fma
    roomy: bool = False  # one block a processor is enough: else the compiler spills, to fit more

    @property
    def name(self) -> str:
        """`f32_n64r8d9_tf32`: dtype, size, an unusual tile, degree 9 where W² has a buffer."""
        kind = {"float32": "f32", "float64": "f64"}[self.dtype]
        tile = f"r{self.tile}" if self.engine == "Threads" and self.tile > 4 else ""
        many = "d9" if self.family == "iterate" and self.buffers > 3 else ""
        operands = f"_{self.operands}" if self.operands else ""
        return f"{kind}_n{self.size}{tile}{many}{operands}"

    @property
    def symbol(self) -> str:
        """What the kernel is called in the compiled code."""
        return f"mss_{self.family}_{self.name}"

    @property
    def engine(self) -> str:
        """Who computes a tile of a product: see common.cuh."""
        if self.family == "jacobi":
            return ""
        return "Warps" if self.operands else "Threads"

    @property
    def declaration(self) -> str:
        """The line of CUDA C++ that makes it."""
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
        """Threads of one matrix."""
        if self.family == "jacobi":
            return self.tile
        edge = self.size // self.tile
        return edge * (edge + 1) * (_WARP if self.operands else 1)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.matrix_threads * self.per_block

    @cached_property
    def numbers(self) -> int:
        """Numbers of shared memory, of one matrix; as the kernels reckon them."""
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


# Of these the compiler spills some registers unless told so: on sm_90, and the last two elsewhere.
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


# Of two variants of one size the first is for few matrices, the second for many: more of them on a
# processor at once.
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
