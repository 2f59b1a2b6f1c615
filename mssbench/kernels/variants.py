"""Every kernel that is compiled, with what it takes of a GPU. Pure data, for planner and tests.

A variant serves any n up to its `size`; the rows above n are padded. To add one is a line here: the
emulation, the compile gate and the planner go over these tables.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["iterate", "lyapunov", "jacobi", "loewner"]
Norm: TypeAlias = Literal["trace", "frobenius", "min_ws_minc"]  # which bound, see bounds.py
BYTES = {"float32": 4, "float64": 8}
MOST_STEPS, MOST_TERMS = 32, 5  # of a schedule: MSS_MOST_STEPS, MSS_MOST_TERMS
TERMS = (2, 3, 5)  # of a factor


@dataclass(frozen=True)
class Variant:
    """One kernel: `mss_<family>_<name>`."""

    family: Family
    dtype: str  # float32 | float64
    size: int  # N, a multiple of `tile`
    tile: int  # R: a thread computes R x R numbers of a product; jacobi: threads of a matrix
    per_block: int  # matrices
    buffers: int = 0  # of N x (N + 4) numbers, of one matrix; iterate: 3, or 4 for W²
    roomy: bool = False  # one block a processor is enough: else the compiler spills, to fit more

    @property
    def name(self) -> str:
        """`f32_n64r8d9`: dtype, size, an unusual tile, and the degree where W² has a buffer."""
        kind = {"float32": "f32", "float64": "f64"}[self.dtype]
        tile = f"r{self.tile}" if self.family != "jacobi" and self.tile > 4 else ""
        many = "d9" if self.family == "iterate" and self.buffers > 3 else ""
        return f"{kind}_n{self.size}{tile}{many}"

    @property
    def symbol(self) -> str:
        """What the kernel is called in the compiled code."""
        return f"mss_{self.family}_{self.name}"

    @property
    def declaration(self) -> str:
        """The line of CUDA C++ that makes it."""
        ctype = {"float32": "float", "float64": "double"}[self.dtype]
        bounds = f"({self.threads}, 1)" if self.roomy else f"({self.threads})"
        rest = [self.buffers] if self.family == "iterate" else []
        given = [self.name, bounds, ctype, self.size, self.tile, self.per_block, *rest]
        arguments = ", ".join(map(str, given))
        return f"MSS_{self.family.upper()}({arguments})"

    @cached_property
    def matrix_threads(self) -> int:
        """Threads of one matrix."""
        edge = self.size // self.tile
        return self.tile if self.family == "jacobi" else edge * (edge + 1)

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


# Of these the compiler for sm_90 spills some registers unless told so.
_ROOMY = frozenset(
    f"mss_{family}_{name}"
    for family, names in (
        ("iterate", ("f32_n16", "f32_n32d9", "f32_n64d9")),
        ("lyapunov", ("f32_n8", "f32_n32", "f32_n64", "f64_n16", "f64_n32", "f64_n48")),
        ("loewner", ("f32_n16", "f32_n32")),
    )
    for name in names
)


def _iterate(dtype: str, size: int, tile: int, per_block: int, buffers: int) -> Variant:
    return Variant("iterate", dtype, size, tile, per_block, buffers)


# Of two variants of one size the first is for few matrices, the second for many: more of them on a
# processor at once.
_ALL: tuple[Variant, ...] = (
    *(_iterate("float32", n, r, m, b) for b in (3, 4) for n, r, m in (
        (8, 2, 8), (16, 4, 8), (32, 4, 4), (48, 4, 2), (64, 4, 1), (96, 8, 1))),
    _iterate("float32", 64, 8, 4, 3), _iterate("float32", 128, 8, 1, 3),
    *(_iterate("float64", n, r, m, b) for b in (3, 4) for n, r, m in (
        (8, 2, 8), (16, 4, 8), (32, 4, 2), (48, 4, 1), (64, 4, 1))),
    _iterate("float64", 88, 4, 1, 3),
    *(Variant("lyapunov", "float32", n, r, m) for n, r, m in (
        (8, 2, 8), (16, 4, 8), (32, 4, 4), (48, 4, 2), (64, 4, 1), (96, 8, 1))),
    *(Variant("lyapunov", "float64", n, r, m) for n, r, m in (
        (8, 2, 8), (16, 4, 8), (32, 4, 2), (48, 4, 1), (64, 4, 1))),
    *(Variant("jacobi", dtype, n, threads, m) for dtype in ("float32", "float64")
      for n, threads, m in ((8, 16, 8), (16, 32, 4), (32, 128, 1), (64, 256, 1))),
    *(Variant("loewner", dtype, n, r, m) for dtype in ("float32", "float64")
      for n, r, m in ((8, 2, 8), (16, 4, 8), (32, 4, 2), (64, 4, 1))),
)  # fmt: skip
VARIANTS = tuple(replace(v, roomy=v.symbol in _ROOMY) for v in _ALL)
