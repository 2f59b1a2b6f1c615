"""Findings of `mssbench doctor`: conditions that disturb measurements or spoil results.

A finding is a dictionary of three sentences: the finding, its consequence, and a remedy.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from mssbench.machine.eigensolvers import Cliff, Convergence, Orthonormality
from mssbench.machine.probes import Broken, Probed
from mssbench.machine.threads import Pool, Threads
from mssbench.records import units

Finding = dict[str, str]  # finding, consequence, remedy
# Ratio of the times at n = 33 and 32 that counts as a cliff. The work explains (33/32)³ = 1.10, and
# the fastest rounds of a busy machine differ by up to a third.
_STEEP = 1.5
_GPU_BATCHES = (2, 12)  # first torch whose eigh on a GPU is batched above n = 32, pytorch#175403


def judge(
    facts: dict[str, Any], backends: Iterable[dict[str, Any]], probed: Probed
) -> Iterator[Finding]:
    """Yield every finding, from the facts, the available backends and the probes of a machine."""
    yield from of_machine(facts)
    yield from of_threads(probed.threads)

    for _, same in groupby(probed.convergence, key=lambda c: (c.library, c.device)):
        yield from of_convergence(list(same))
    for _, group in groupby(probed.orthonormality, key=lambda o: (o.library, o.device)):
        yield from of_orthonormality(list(group))
    for _, pair in groupby(probed.cliff, key=lambda c: (c.library, c.device)):
        yield from of_cliff(list(pair), facts["versions"])

    yield from map(of_broken, probed.broken)
    yield from of_backends(backends)
    yield from of_locks()


def of_machine(facts: dict[str, Any]) -> Iterator[Finding]:
    """Yield findings on the load, the cores, the CPU governor, and torch's float32 products."""
    cores, load = facts["cores"], facts["load"][0]
    granted, physical = cores["granted"], cores["physical"]

    if load > max(0.5, 0.25 * granted):
        yield _finding(
            f"load average {load:.1f} on {granted} cores: something else is running",
            "times come out too long and differ from run to run; comparisons become unclear",
            "wait for it, or stop it; `top` shows what it is",
        )

    if physical and granted > physical:
        yield _finding(
            f"{granted} threads granted on {physical} physical cores",
            "two threads share a core and its caches: times vary, and more threads gain little",
            f"taskset -c 0-{physical - 1} mssbench run ...",
        )

    if facts["governor"] not in (None, "performance"):
        yield _finding(
            f"CPU governor is {facts['governor']}: the clock rate changes during a run",
            "the same code takes longer on a core that was idle: the first cells look slow",
            "sudo cpupower frequency-set -g performance",
        )

    if facts["gpus"] and facts["float32_matmul_precision"] != "highest":
        yield _finding(
            f"float32 products are {facts['float32_matmul_precision']} by default",
            "your own program multiplies with 11 bits (tf32), which ends an iteration at errors of "
            "1e-3; mssbench sets its own rule per cell",
            'torch.set_float32_matmul_precision("highest") at the start of your program',
        )


def of_threads(found: Threads) -> Iterator[Finding]:
    """Yield findings on more threads than cores, small quotas, and two OpenMP runtimes."""
    cores = found.cores
    limit = units.count(cores, "core")
    limit += ", the container's quota" if cores < found.granted else ""
    many = [f"{p.name} uses {p.threads} threads" for p in found.pools if p.threads > cores]
    many += [f"{k}={v}" for k, v in found.settings.items() if v.isdigit() and int(v) > cores]

    if many:
        others = " ".join(name for name in found.settings if name != "OMP_NUM_THREADS")
        yield _finding(
            f"{', '.join(many)} on {limit}",
            "threads wait for each other to run: small batches take several times as long, and "
            "times vary",
            f"export OMP_NUM_THREADS={cores}" + (f"; unset {others}" if others else ""),
        )

    if found.quota is not None and found.quota < 1:
        yield _finding(
            f"the container has {found.quota:g} of a core's time",
            "the kernel stops it for the rest of each period, within a sample or between two: "
            "times vary several-fold",
            "give it a whole core: docker run --cpus=1, or limits.cpu: 1 in Kubernetes",
        )

    openmp = {p.path: p for p in found.pools if p.kind == "openmp"}
    if len(openmp) > 1:
        kinds, owned = {p.name for p in openmp.values()}, ", ".join(map(_owned, openmp.values()))
        hang = "; libiomp beside libomp can also hang or crash"
        yield _finding(
            f"{len(openmp)} OpenMP runtimes in one process: {owned}",
            "each has its own threads, which spin on the cores that the other needs next"
            + (hang if {"libiomp", "libomp"} <= kinds else ""),
            "export OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0; for good: install both packages from "
            "one source (all by pip or all by conda)",
        )


def of_convergence(found: list[Convergence]) -> Iterator[Finding]:
    """Yield a finding for each precision in which `eigh` fails.

    found: the results for one library and device, one for each precision.
    """
    safe = not any(c.failed for c in found if c.precision == "float64")
    for c in (c for c in found if c.failed):
        name = f"{c.library}.linalg.eigh"
        ways = {"raised an error": c.raised, "gave NaN": c.nan, "gave wrong eigenpairs": c.wrong}
        failures = ", ".join(f"{n} {way}" for way, n in ways.items() if n)

        yield _finding(
            f"{name} on {c.device} in {c.precision} failed on {c.failed} of {c.tried} covariances "
            f"with dead channels: {failures}",
            f"in your own code one such matrix ends the whole batch, or NaN reaches the loss; "
            f"{_retried(c)}",
            _in_float64(c) if safe and c.precision == "float32" else _newer(c.library, c.device),
        )


def of_orthonormality(found: list[Orthonormality]) -> Iterator[Finding]:
    """Yield a finding on the worst case if eigenvectors are less orthonormal than by rounding.

    found: the results of `eigh` for one library and device.
    """
    bad = [o for o in found if o.worst is None or o.worst > o.bound]
    if not bad:
        return

    worst = max(bad, key=lambda o: float("inf") if o.worst is None else o.worst / o.bound)
    where = f"{worst.library}.linalg.eigh on {worst.device} in {worst.precision}, n = {worst.size}"
    limit = f"rounding explains {units.error(worst.bound)}"

    yield _finding(
        f"{where}: no finite eigenvectors of ordinary matrices"
        if worst.worst is None
        else f"{where}: eigenvectors are orthonormal to {units.error(worst.worst)} only; {limit}",
        "every root and gradient made of eigenpairs on this device is wrong by as much, in your "
        "own code too; mssbench marks its rows inaccurate or nonfinite",
        _newer(worst.library, worst.device),
    )


def of_cliff(found: list[Cliff], versions: dict[str, str | None]) -> Iterator[Finding]:
    """Yield a finding if `eigh` is much slower at n = 33 than at n = 32, with the precisions.

    found: the times for one library and device.
    """
    steep = [c for c in found if c.ratio > _STEEP]
    if not steep:
        return

    library, device = steep[0].library, steep[0].device
    cases = ", ".join(
        f"{units.ratio(c.ratio)} in {c.precision} "
        f"({units.seconds(c.seconds_32)} to {units.seconds(c.seconds_33)} a matrix)"
        for c in steep
    )

    old = (library, device) == ("torch", "cuda") and _release(versions["torch"]) < _GPU_BATCHES
    compare = f"mssbench run quick --device {device} --set size=32,33 --out results/cliff"
    yield _finding(
        f"{library}.linalg.eigh on {device} takes more at n = 33 than at n = 32: {cases}",
        "the work explains 1.10x; above n = 32 methods with eigenpairs look slow because of this "
        "solver, not because of the method, and your own code is slow as well",
        "pip install --upgrade 'torch>=2.12', which has a batched eigh for every size"
        if old
        else f"{compare}; above n = 32 use the fastest method without eigenpairs that it shows",
    )


def of_broken(found: Broken) -> Finding:
    """Return the finding for a probe that ended with an unexpected error."""
    return _finding(
        f"the {found.probe} probe of {found.library} on {found.device} ended with {found.error}",
        f"cells of {found.library} on {found.device} with eigenpairs may end the same way",
        f"mssbench run quick --effort smoke --device {found.device} --out results/smoke",
    )


def of_backends(backends: Iterable[dict[str, Any]]) -> Iterator[Finding]:
    """Yield a finding for each pair of a library and a device that cannot be used here.

    The remedy is a command that installs the library, a machine with a GPU, or a build of the
    library for the driver of the GPU, depending on the reason.

    backends: the pairs, each with whether it can be used, and if not with the reason.
    """
    for backend in backends:
        if backend["available"]:
            continue

        reason = backend["reason"]
        why, _, remedy = reason.partition(": ")
        if not remedy.startswith(("pip install", "install")):
            why = reason
            remedy = "`nvidia-smi` shows the CUDA version of the driver: install a build for it"
        if "CUDA device" in reason:
            also = f", and there: {remedy}" if "not installed" in reason else ""
            remedy = f"run where `nvidia-smi` lists a GPU (in Docker: docker run --gpus all){also}"

        yield _finding(
            f"{backend['library']} on {backend['device']} cannot run: {why}",
            "its cells become rows without times, which give this as their reason",
            remedy,
        )


def of_locks() -> Iterator[Finding]:
    """Yield a finding if the folder with the locks of the devices is not the one of all users.

    Two runs with different folders may measure on one device at the same time.
    """
    if "MSSBENCH_LOCKS" in os.environ:
        yield _finding(
            "MSSBENCH_LOCKS is set: runs with another folder may use the same device",
            "two runs at once slow each other down, and the times of both are wrong",
            "unset MSSBENCH_LOCKS",
        )


def _finding(finding: str, consequence: str, remedy: str) -> Finding:
    return {"finding": finding, "consequence": consequence, "remedy": remedy}


def _owned(pool: Pool) -> str:
    """Return a library with the package that contains it, such as `libgomp of torch`."""
    parts = Path(pool.path).parts
    if "site-packages" not in parts:
        return f"{pool.name} ({pool.path})"
    package = parts[parts.index("site-packages") + 1].removesuffix(".libs")
    return f"{pool.name} of {package}"


def _retried(c: Convergence) -> str:
    """Return a clause on what mssbench does with a matrix on which `eigh` fails.

    In float64 the cell fails. In float32 mssbench retries the matrix in float64 after an error, or
    after a NaN on a CPU; wrong eigenpairs, and NaN on a GPU, are only marked in the rows.
    """
    if c.precision == "float64":
        return "mssbench has no wider precision to retry in, and its cells fail"
    if c.wrong or (c.nan and c.device == "cuda"):
        return "mssbench retries in float64 what raises an error, and marks the rest in its rows"
    return "mssbench's eigh retries such a matrix in float64, so its rows are right but slower"


def _in_float64(c: Convergence) -> str:
    """Return the remedy for an `eigh` that fails in float32 and not in float64."""
    wide = "a.double()" if c.library == "torch" else 'a.astype("float64")'
    return f"w, v = {c.library}.linalg.eigh({wide}), or mssbench.sqrtm(a), which retries by itself"


def _newer(library: str, device: str) -> str:
    """Return the remedy for a faulty `eigh`: a newer version of its library."""
    if library == "torch" and device == "cuda":
        return (
            "PYTORCH_NO_CUDA_MEMORY_CACHING=1 mssbench doctor; if that helps, it is "
            "pytorch#192483: pip install --upgrade torch, for cuSOLVER 11.7.3.90 or later"
        )
    package = "cupy-cuda13x (or 12x)" if library == "cupy" else library
    return f"pip install --upgrade {package}, then mssbench doctor again"


def _release(version: str | None) -> tuple[int, ...]:
    """Return the first two numbers of a version: (2, 11) for 2.11.0+cu130."""
    return tuple(int(x) for x in (version or "0.0").split(".")[:2])
