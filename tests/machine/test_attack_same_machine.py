"""Machines that look the same and are not: another vector unit, fewer cores, ARM without a name."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mssbench.machine import facts as facts_of_machine
from mssbench.machine import processor, threads
from mssbench.machine.findings import of_threads
from mssbench.machine.threads import Threads
from mssbench.records.facts import difference, identify, machine

FACTS: dict[str, Any] = {
    "cpu": "AMD EPYC",
    "cores": {"granted": 64, "physical": 64, "logical": 64, "quota": None},
    "vector_extensions": {"torch": "AVX512", "openblas": "SkylakeX"},
    "gpus": [],
}
ARM = """\
processor\t: {number}
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes
CPU implementer\t: {implementer}
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: {part}
CPU revision\t: 1

"""


def cpuinfo(*cores: tuple[str, str]) -> str:
    return "".join(
        ARM.format(number=number, implementer=implementer, part=part)
        for number, (implementer, part) in enumerate(cores)
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (cpuinfo(*[("0x41", "0xd0c")] * 4), "ARM Neoverse-N1"),
        (cpuinfo(("0x41", "0xd40")), "ARM Neoverse-V1"),
        (cpuinfo(("0x41", "0xd4f")), "ARM Neoverse-V2"),
        (cpuinfo(("0xc0", "0xac3")), "Ampere Ampere-1"),
        (
            cpuinfo(*[("0x41", "0xd03")] * 4, *[("0x41", "0xd08")] * 2),
            "ARM Cortex-A53 + ARM Cortex-A72",
        ),
        (cpuinfo(("0x41", "0xfff")), "ARM part 0xfff"),
        (cpuinfo(("0x99", "0x001")), "implementer 0x99 part 0x001"),
        ("processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\n", "Intel(R) Xeon(R)"),
        (
            "processor\t: 0\nmodel name\t: ARMv8 Processor rev 3\nCPU implementer\t: 0x41\n",
            "ARMv8 Processor rev 3",
        ),
        ("processor\t: 0\nhart\t: 1\nuarch\t: sifive,u74-mc\n", "sifive,u74-mc"),
        ("processor\t: 0\ncpu\t\t: POWER9, altivec supported\n", "POWER9, altivec supported"),
    ],
)
def test_attack_a_processor_that_does_not_give_its_name(text: str, name: str) -> None:
    """Two servers of ARM were both `aarch64`, and their times were compared."""
    assert processor.model(text) == name


@pytest.mark.parametrize("text", ["", "CPU implementer\t: 0x41\n", "CPU part : x\n", "\0:\n"])
def test_attack_a_cpuinfo_that_says_nothing(text: str) -> None:
    assert processor.model(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"vector_extensions": {"torch": "AVX2", "openblas": "SkylakeX"}},
            "vector_extensions: torch AVX512 then, AVX2 now",
        ),
        (
            {"vector_extensions": {"torch": "AVX512", "openblas": "Haswell"}},
            "vector_extensions: openblas SkylakeX then, Haswell now",
        ),
        (
            {"vector_extensions": {**FACTS["vector_extensions"], "MKL_CBWR": "AVX2"}},
            "vector_extensions: MKL_CBWR None then, AVX2 now",
        ),
        ({"cores": {**FACTS["cores"], "quota": 0.5}}, "cores: quota None then, 0.5 now"),
        ({"cores": {**FACTS["cores"], "granted": 2}}, "cores: granted 64 then, 2 now"),
        ({"cpu": "ARM Neoverse-N1"}, "cpu: AMD EPYC then, ARM Neoverse-N1 now"),
    ],
    ids=["torch", "BLAS", "a setting", "quota", "affinity", "model"],
)
def test_attack_machines_that_differ_in_one_fact(change: dict[str, Any], said: str) -> None:
    other = FACTS | change
    assert identify(FACTS) != identify(other)
    assert difference(FACTS, other) == said


def test_attack_a_table_from_before_quotas_were_noted() -> None:
    """Without a limit it is the same machine."""
    cores = {k: v for k, v in FACTS["cores"].items() if k != "quota"}
    assert identify(FACTS) == identify(FACTS | {"cores": cores})


@pytest.mark.parametrize(
    ("quota", "said"), [(None, "64 cores"), (0.5, "0.5 of 64 cores"), (96.0, "64 cores")]
)
def test_attack_half_a_core_says_so(quota: float | None, said: str) -> None:
    facts = FACTS | {"cores": {**FACTS["cores"], "quota": quota}}
    assert machine(facts, "") == f"AMD EPYC, {said}"
    found = list(of_threads(Threads(64, quota, (), {})))
    assert [f["finding"] for f in found] == (
        ["the container has 0.5 of a core's time"] if quota == 0.5 else []
    )


def test_attack_a_quota_that_changed_makes_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "cpu": processor.model(),
        "cores": {"granted": len(os.sched_getaffinity(0)), "quota": threads.quota()},
        "versions": {"torch": facts_of_machine.package_version("torch")},
        "gpus": [{"name": gpu.name} for gpu in facts_of_machine.cuda_devices()],
    }
    assert facts_of_machine.is_this_machine(facts)
    monkeypatch.setattr(facts_of_machine, "quota", lambda: 0.25)
    assert not facts_of_machine.is_this_machine(facts)


WORKER = """
import json, os, sys
from mssbench.machine import threads
threads.quota = lambda *_: {quota}
os.sched_getaffinity = lambda _: set(range(8))
import torch
torch.set_num_threads(8)
from threadpoolctl import threadpool_info
from mssbench.engines.worker import TorchInstruments
TorchInstruments({{"settings": {{"policy": {{}}}}}})
blas = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
print(json.dumps([torch.get_num_threads(), max(blas)]))
"""


@pytest.mark.sampled(slow=1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("quota", "settings", "found"),
    [("1.0", {}, [1, 1]), ("0.5", {}, [1, 1]), ("1.9", {"OMP_NUM_THREADS": "2"}, [8, 2])],
    ids=["one", "half", "set by the user"],
)
def test_attack_a_quota_below_the_cores_that_libraries_see(
    quota: str, settings: dict[str, str], found: list[int]
) -> None:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {k: v for k, v in os.environ.items() if k not in names} | settings
    done = subprocess.run(
        [sys.executable, "-c", WORKER.format(quota=quota)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    torch_threads, blas = json.loads(done.stdout.splitlines()[-1])
    assert torch_threads == found[0]
    if not settings:
        assert blas == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_attack_torch_is_told_to_use_other_instructions(capability: str) -> None:
    code = (
        "import json, torch\nfrom mssbench.machine.processor import vector_extensions\n"
        "print(json.dumps(vector_extensions(torch)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ATEN_CPU_CAPABILITY"] == capability
    assert found["torch"].lower() in (capability, "no avx", "default")
