"""Find the name of the processor, and the vector instructions that the libraries use."""

import os
import platform
import re
import warnings
from typing import Any

from threadpoolctl import threadpool_info

from mssbench.machine.devices import text_of

# Names for the numbers `CPU implementer` and `CPU part` of /proc/cpuinfo, which has no name for an
# ARM processor. Source: util-linux, sys-utils/lscpu-arm.c; the list has the processors of servers
# and of boards that run Linux.
_IMPLEMENTERS = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x61: "Apple",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
}
_PARTS = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4A): "Neoverse-E1",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x43, 0x0A1): "ThunderX",
    (0x43, 0x0AF): "ThunderX2",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TaiShan-v110",
    (0x48, 0xD02): "TaiShan-v120",
    (0x4E, 0x004): "Carmel",
    (0x4E, 0x010): "Olympus",
    (0x61, 0x022): "M1",
    (0x61, 0x023): "M1",
    (0x61, 0x032): "M2",
    (0x61, 0x033): "M2",
    (0x6D, 0xD49): "Azure Cobalt 100",
    (0x70, 0x663): "FTC663",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}
# Variables that make a library use other instructions than it would choose for the processor. They
# are recorded because not every library reports their effect.
_SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)


def model(cpuinfo: str | None = None) -> str:
    """Return the name of the processor, from Linux or from the numbers of an ARM processor.

    cpuinfo: the text of /proc/cpuinfo; None: read it now. If an ARM processor has several kinds of
    cores, their names are joined by `+`.
    """
    text = text_of("/proc/cpuinfo") or "" if cpuinfo is None else cpuinfo
    values = _values(text)

    for name in ("model name", "uarch", "cpu model"):  # x86, RISC-V, MIPS
        if values.get(name):
            return values[name][0]
    if "CPU implementer" in values:
        return " + ".join(dict.fromkeys(_arm_cores(text)))

    for name in ("cpu", "processor 0"):  # POWER, s390
        if values.get(name):
            return values[name][0]
    return platform.processor() or platform.machine()


def _values(text: str) -> dict[str, list[str]]:
    """Return the values of every key of /proc/cpuinfo, in order."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip():
            values.setdefault(name.strip(), []).append(value.strip())
    return values


def _arm_cores(text: str) -> list[str]:
    """Return the name of each core of an ARM processor, in order."""
    names = []
    for core in re.split(r"\n\s*\n", text):
        values = _values(core)
        if "CPU implementer" not in values or "CPU part" not in values:
            continue

        implementer, part = (_number(values[f"CPU {name}"][0]) for name in ("implementer", "part"))
        who = _IMPLEMENTERS.get(implementer, f"implementer {implementer:#04x}")
        names.append(f"{who} {_PARTS.get((implementer, part), f'part {part:#05x}')}")
    return names or [platform.machine()]


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def vector_extensions(torch: Any) -> dict[str, str]:
    """Return the vector instructions in use by library: {"torch": "AVX2", "openblas": "Haswell"}.

    torch: the module. The environment variables that change this choice are included if set.
    """
    used = {"torch": str(torch.backends.cpu.get_cpu_capability())}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about two OpenMP runtimes: `mssbench doctor` reports them
        for pool in threadpool_info():
            if pool.get("architecture"):
                used[pool["internal_api"]] = str(pool["architecture"])
    return used | {name: os.environ[name] for name in _SETTINGS if name in os.environ}
