"""Time every kernel by itself on a GPU: microseconds a launch, and the share of the fp32 ceiling.

    PYTHONPATH=. python3 .ci/race.py [PATTERN] [--batch 128 1024 8192] [--csv FILE]

PATTERN is a regular expression that the names of the kernels have to match: `f32` is all kernels of
float32, `iterate.*n64` compares those for 64 rows. The planner chooses among kernels by rules that
were made without a GPU; here each is launched whatever the planner would do, and the column
`planned` marks its choice. The ceiling is the rate of one large product of float32 numbers.

A row is written as soon as it is measured, so a race that is stopped leaves a valid file. Exit
status: 0; 1 if a kernel failed; 2 for arguments that are not understood.
"""

import argparse
import csv
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch

from mssbench.errors import NotInstalled, Unsupported
from mssbench.measure.instruments import ceilings
from mssbench.measure.instruments.clocks import CudaClock, HostClock
from mssbench.methods.kernels import driver, examine, fused, planner
from mssbench.methods.kernels import effort as effort_
from mssbench.methods.kernels import variants as variants_
from mssbench.methods.kernels.variants import VARIANTS, Variant
from mssbench.methods.method import Root
from mssbench.methods.minimax import taylor

BATCHES = (128, 1024, 8192)  # fewer than the device holds at once, about as many, and many more
CALLS = 4  # launches between two events, which resolve half a microsecond
_DIFFERENT = 64  # matrices; a GPU takes as long for copies of them
_BOTH = frozenset(("sqrt", "isqrt"))
# Twelve Newton–Schulz steps as in the suites, and a gradient of six steps of degree 5.
_STEPS, _GRADIENT_STEPS = (taylor(3),) * 12, (taylor(5),) * 6


class Row(NamedTuple):
    """One kernel at one batch size. Numbers are None where it was refused or failed."""

    kernel: str
    size: int
    batch: int
    planned: bool  # the planner would launch this kernel for these matrices
    microseconds: float | None = None
    tflops: float | None = None  # by the work that the kernel does, see kernels/effort.py
    share: float | None = None  # of the ceiling
    reason: str = ""  # why there are no numbers
    failed: bool = False  # for a reason that is none of the device's limits


class _Ear:
    """Remembers the work of the last launch."""

    def __init__(self) -> None:
        self.last: effort_.Effort | None = None

    def launched(self, effort: effort_.Effort) -> None:
        self.last = effort


def race(
    variants: Sequence[Variant], batches: Sequence[int], device: str = "cuda"
) -> Iterator[Row]:
    """The rows of these kernels, one after another. Nothing that a kernel raises ends the race."""
    ceiling = ceilings.Ceilings().measure(device).get("float32")
    for variant in variants:
        for batch in batches:
            yield _row(variant, batch, device, ceiling)


def _row(variant: Variant, batch: int, device: str, ceiling: float | None) -> Row:
    row = Row(variant.symbol, variant.size, batch, planned=False)
    try:
        call = _call(variant, batch, device)
        row = row._replace(planned=_planned(variant, batch, device))
        with _only(variant), _listening() as ear:
            seconds = ceilings.fastest(_clock(device), call, CALLS)
    except (NotInstalled, Unsupported) as refused:
        return row._replace(reason=str(refused))
    except Exception as error:  # one that fails must not hide the others
        return row._replace(reason=f"{type(error).__name__}: {error}", failed=True)

    row = row._replace(microseconds=1e6 * seconds)
    if ear.last is None:
        return row
    products = (ear.last.products + ear.last.estimated) * batch
    rate = products * 2 * variant.size**3 / seconds
    return row._replace(tflops=rate * 1e-12, share=rate / ceiling if ceiling else None)


def _call(variant: Variant, batch: int, device: str) -> Callable[[], object]:
    """One launch of the variant's family on `batch` matrices of the variant's own size."""
    a, g, w, v = (
        torch.from_numpy(x).to(device, getattr(torch, variant.dtype))
        for x in examine.matrices(variant.size, min(batch, _DIFFERENT))
    )
    copies = -(-batch // len(a))
    a, g, v = (x.repeat(copies, 1, 1)[:batch].contiguous() for x in (a, g, v))
    w = w.repeat(copies, 1)[:batch].contiguous()
    operands = variant.operands

    calls: dict[str, Callable[[], object]] = {
        "iterate": lambda: fused.iterate(a, _STEPS, "min_ws_minc", _BOTH, operands),
        # a root is its own square's: Y = A serves the gradient as well as any
        "lyapunov": lambda: fused.lyapunov(Root(a), "sqrt", g, _GRADIENT_STEPS, operands),
        "jacobi": lambda: fused.jacobi(a, _BOTH),
        "loewner": lambda: fused.loewner((w, v), "sqrt", g),
    }
    return calls[variant.family]


def _planned(variant: Variant, batch: int, device: str) -> bool:
    """Whether the planner, left to itself, would launch this kernel for the same call."""
    limits = driver.driver_of(torch.empty(1, 1, 1, device=device)).limits
    terms = {"iterate": 2, "lyapunov": 3}.get(variant.family, 0)  # of the steps above
    with suppress(Unsupported):
        launch = planner.plan(
            variant.family,
            variant.size,
            batch,
            variant.dtype,
            limits,
            terms=terms,
            operands=variant.operands,
        )
        return launch.variant is variant
    return False


@contextmanager
def _only(variant: Variant) -> Iterator[None]:
    """The planner knows no other kernel inside the block."""
    before = variants_.VARIANTS
    variants_.VARIANTS = (variant,)
    planner._planned.cache_clear()
    try:
        yield
    finally:
        variants_.VARIANTS = before
        planner._planned.cache_clear()


@contextmanager
def _listening() -> Iterator[_Ear]:
    ear = _Ear()
    effort_.listeners.append(ear)
    try:
        yield ear
    finally:
        effort_.listeners.remove(ear)


def _clock(device: str) -> CudaClock | HostClock:
    return CudaClock(torch.cuda, waits=False) if device == "cuda" else HostClock()


def line(row: Row) -> str:
    """A row for people."""
    name = f"{'*' if row.planned else ' '} {row.kernel:36} B = {row.batch:<6}"
    if row.microseconds is None:
        return f"{name} {'FAILED' if row.failed else 'refused'}: {row.reason}"
    parts = [f"{name} {row.microseconds:10.1f} us"]
    if row.tflops is not None:
        parts.append(f"{row.tflops:7.2f} TFLOP/s")
    if row.share is not None:
        parts.append(f"{100 * row.share:5.1f} % of a large fp32 product")
    return "  ".join(parts)


def main(given: Sequence[str] | None = None, device: str = "cuda") -> int:
    """Race the kernels that the arguments name; the exit status."""
    head, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=head, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pattern", nargs="?", default="", help="of the kernels' names; all of them")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="matrices a launch")
    parser.add_argument("--csv", type=Path, default=Path("/dev/null"), help="rows go here as well")
    asked = parser.parse_args(given)
    chosen = [v for v in VARIANTS if re.search(asked.pattern, v.symbol)]
    if not chosen:
        parser.error(f"no kernel's name matches {asked.pattern!r}")

    failed = False
    with asked.csv.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(Row._fields)
        for row in race(chosen, asked.batch, device):
            print(line(row), flush=True)
            table.writerow(row)
            file.flush()
            failed |= row.failed
    print("* the planner's choice for these matrices")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
