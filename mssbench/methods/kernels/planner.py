"""Selection of the kernel variant for a batch on a device, or the reason why there is none.

This is pure Python and needs no GPU:

plan("iterate", n=24, batch=1000, dtype="float32", limits=LIMITS["sm_90"], terms=3)
"""

from dataclasses import dataclass
from functools import lru_cache

from mssbench.errors import Unsupported
from mssbench.methods.kernels import variants as catalogue
from mssbench.methods.kernels.variants import MOST_STEPS, TERMS, Family, Operands, Variant

_RESERVED = 1024  # bytes of shared memory that the driver reserves in each block
_MOST_MATRICES = 2**31 - 1  # the kernels count matrices in an int; a grid allows as many blocks
_WARP, _REGISTERS_AT_ONCE = 32, 256  # registers are allocated to a warp in units of 256


# Compared by identity, because it is a cache key in every call.
@dataclass(frozen=True, eq=False)
class Limits:
    """The resources of a kind of GPU, which limit a launch."""

    shared_per_block: int  # bytes, with opt-in
    shared_per_processor: int  # bytes
    threads_per_processor: int
    registers_per_processor: int
    blocks_per_processor: int
    processors: int = 1
    tensor_cores: bool = True  # for tf32 and bfloat16, which sm_80 and later have


def _kib(block: int, processor: int, threads: int, blocks: int, **more: bool) -> Limits:
    return Limits(1024 * block, 1024 * processor, threads, 65536, blocks, **more)


# CUDA C++ Programming Guide, Technical Specifications per Compute Capability. The number of
# processors is known for actual devices only.
LIMITS = {
    "sm_75": _kib(64, 64, 1024, 16, tensor_cores=False),
    "sm_80": _kib(163, 164, 2048, 32),
    "sm_86": _kib(99, 100, 1536, 16),
    "sm_90": _kib(227, 228, 2048, 32),
    "sm_100": _kib(227, 228, 2048, 32),
    "sm_120": _kib(99, 100, 1536, 24),
}


@dataclass(frozen=True)
class Launch:
    """A kernel variant and the number of blocks, of `variant.threads` threads each."""

    variant: Variant
    blocks: int

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a block."""
        return self.variant.shared_bytes


def plan(
    family: Family,
    n: int,
    batch: int,
    dtype: str,
    limits: Limits,
    *,
    terms: int = 0,
    steps: int = 1,
    operands: Operands | None = None,
) -> Launch:
    """Return the launch for `batch` matrices of n rows.

    steps: the number of factors of the schedule, which are polynomials. terms: the largest number
    of terms of any of them, (degree + 1) / 2; 0 for a kernel without a schedule. The family
    `lyapunov`, the kernel of the gradient, takes factors of degree 3 and 5, others also of degree
    9. operands: the rounding of products on tensor cores; None for products by fma.
    Raises Unsupported with the reason if no variant fits: the size, the shared memory of the
    device, or a batch or schedule larger than a kernel can hold.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise Unsupported(
            f"a kernel holds 1 to {MOST_STEPS} steps, and the schedule has {steps}: change "
            "iterations or finish"
        )
    degree = 2 * terms - 1
    if terms and terms not in TERMS:
        raise Unsupported(
            f"kernels take factors of degree 3, 5 and 9, and one has degree {degree}: set degree "
            "to one of these"
        )
    if family == "lyapunov" and terms > 3:
        raise Unsupported(
            f"lyapunov kernels, for the gradient, take factors of degree 3 and 5, not {degree}"
        )

    if batch > _MOST_MATRICES:
        raise Unsupported(f"a launch counts at most {_MOST_MATRICES} matrices, not {batch}")

    if operands and not limits.tensor_cores:
        instead = "lyapunov_fused" if family == "lyapunov" else "fused"
        raise Unsupported(
            f"this GPU has no tensor cores for tf32 and bfloat16: take the method {instead}"
        )
    return _planned(family, n, batch, dtype, limits, terms, operands)


@lru_cache(maxsize=1024)  # methods call this in every timed call
def _planned(
    family: Family,
    n: int,
    batch: int,
    dtype: str,
    limits: Limits,
    terms: int,
    operands: Operands | None,
) -> Launch:
    requested = (family, dtype, operands)
    known = [v for v in catalogue.VARIANTS if (v.family, v.dtype, v.operands) == requested]
    if not known:
        able_to = "float32 on tensor cores" if operands else "float32 and float64"
        raise Unsupported(f"kernels compute in {able_to}, not in {dtype}")

    able = [v for v in known if v.buffers > 3 or terms < 5] if family == "iterate" else known
    if not able:
        raise Unsupported(
            f"kernels with {operands} take factors of degree 3 and 5: set degree=5, or "
            "operands=tf32x3"
        )

    large = [v for v in able if v.size >= n]
    if not large:
        most = max(v.size for v in able)
        raise Unsupported(f"{family} in {dtype} fits a block's memory for n <= {most}: n is {n}")

    fitting = [v for v in large if v.shared_bytes <= limits.shared_per_block]
    if not fitting:
        least = min(v.shared_bytes for v in large)
        raise Unsupported(
            f"n = {n} takes {least // 1024} KiB of shared memory a block, and this GPU has "
            f"{limits.shared_per_block // 1024}"
        )

    # The smallest size, and of its variants those with the fewest buffers.
    size = min(v.size for v in fitting)
    lean = min(v.buffers for v in fitting if v.size == size)
    chosen = _for_batch([v for v in fitting if (v.size, v.buffers) == (size, lean)], batch, limits)
    return Launch(chosen, -(-batch // chosen.per_block))


def _for_batch(variants: list[Variant], batch: int, limits: Limits) -> Variant:
    """Return the variant with the fewest matrices per block, or for a large batch with the most.

    A batch is large if blocks with the most matrices fill the device four times.
    """
    ordered = sorted(variants, key=lambda v: v.per_block)
    many = ordered[-1]
    return many if batch >= 4 * many.per_block * limits.processors else ordered[0]


def blocks_at_once(variant: Variant, registers: int, limits: Limits) -> int:
    """Return how many blocks run on a multiprocessor at once.

    registers: the registers per thread, as reported by the compiler.
    """
    if variant.shared_bytes > limits.shared_per_block:
        return 0

    warps = -(-variant.threads // _WARP)
    portion = -(-registers * _WARP // _REGISTERS_AT_ONCE) * _REGISTERS_AT_ONCE
    return min(
        limits.threads_per_processor // (warps * _WARP),
        limits.registers_per_processor // (portion * warps),
        limits.shared_per_processor // (variant.shared_bytes + _RESERVED),
        limits.blocks_per_processor,
    )
