"""Facts of a machine: what can run is said without importing torch, and never changed."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mssbench.errors import NotInstalled, Unavailable
from mssbench.machine import devices
from mssbench.machine import facts as environment
from mssbench.records import facts as facts_


class FakeDriver:
    """libcuda.so.1 with some devices."""

    def __init__(self, names: list[str], init: int = 0) -> None:
        self.names, self.init = names, init

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: Any, i: int) -> int:
        device._obj.value = i
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = self.names[device.value].encode()
        return 0

    def cuDeviceGetUuid(self, uuid: Any, device: Any) -> int:
        uuid[0] = device.value + 1
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that the machine has this driver."""
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)

    def install(fake: FakeDriver | None) -> None:
        def load(name: str) -> Any:
            if fake is None:
                raise OSError(name)
            return fake

        monkeypatch.setattr(ctypes, "CDLL", load)
        devices.cuda_devices.cache_clear()

    yield install
    monkeypatch.undo()
    devices.cuda_devices.cache_clear()


def test_devices_are_those_of_the_driver(driver: Any) -> None:
    driver(FakeDriver(["NVIDIA A", "NVIDIA B"]))
    found = devices.cuda_devices()
    assert [gpu.name for gpu in found] == ["NVIDIA A", "NVIDIA B"]
    assert found[0].uuid != found[1].uuid
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize("fake", [None, FakeDriver([]), FakeDriver(["x"], init=100)])
def test_no_driver_or_device_is_no_error(driver: Any, fake: FakeDriver | None) -> None:
    driver(fake)
    assert devices.cuda_devices() == ()
    assert devices.default_device() == "cpu"


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\n", True),
        ("cuda = '12.8'\nhip = None\n", True),
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n", False),
        ("", False),
    ],
)
def test_torchs_build_is_read_from_its_version_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, built: bool
) -> None:
    (tmp_path / "version.py").write_text(text)
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(devices, "find_spec", lambda _: spec)
    devices._torch_is_built_for_cuda.cache_clear()
    assert devices._torch_is_built_for_cuda() is built
    devices._torch_is_built_for_cuda.cache_clear()


def test_auto_means_cuda_only_if_torch_could_use_it(
    driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(FakeDriver(["NVIDIA A"]))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(devices, "_torch_is_built_for_cuda", lambda: True)
    assert devices.default_device() == "cuda"
    monkeypatch.setattr(devices, "_torch_is_built_for_cuda", lambda: False)
    assert devices.default_device() == "cpu"


def test_a_missing_library_names_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    with pytest.raises(NotInstalled, match=r"pip install 'mssbench\[cuda13\]'"):
        devices.check_library("cupy", "cuda")
    with pytest.raises(NotInstalled, match="pip install torch"):
        devices.check_library("torch", "cpu")


def test_a_missing_driver_is_unavailable(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(None)
    monkeypatch.setattr(devices, "_torch_is_built_for_cuda", lambda: True)
    with pytest.raises(Unavailable, match="no CUDA device"):
        devices.check_library("torch", "cuda")


def test_the_identity_leaves_the_weather_out() -> None:
    facts = environment.describe()
    same = facts | {"load": (9.0, 9.0, 9.0), "commit": "other", "memory_bytes": 1}
    assert facts_.identify(same) == facts_.identify(facts)
    for name in ("cpu", "versions", "torch_threads", "driver", "gpus"):
        assert facts_.identify(facts | {name: "other"}) != facts_.identify(facts), name


VERSIONS = {"torch": "2.12", "pandas": "3.0", "mssbench": "0.1", "triton": None}
HERE = {
    "cpu": "Alpha",
    "versions": VERSIONS,
    "threads": {"OMP_NUM_THREADS": "2"},
}


@pytest.mark.parametrize(
    "versions",
    [
        {"torch": "2.12", "pandas": "3.1", "mssbench": "0.2", "triton": None},
        {"torch": "2.12", "pyarrow": "9"},  # an older table, which does not name triton
    ],
)
def test_what_no_call_is_made_of_makes_no_other_environment(versions: dict[str, Any]) -> None:
    now = HERE | {"versions": versions}
    assert facts_.identify(now) == facts_.identify(HERE)
    assert facts_.difference(HERE, now) == "though no fact that is known differs"


def test_the_difference_of_two_machines_names_the_entry() -> None:
    now = HERE | {"versions": {**VERSIONS, "torch": "2.13"}}
    assert facts_.identify(now) != facts_.identify(HERE)
    assert facts_.difference(HERE, now) == "versions: torch 2.12 then, 2.13 now"
    now = HERE | {"versions": {**VERSIONS, "triton": "3.7"}}
    assert facts_.difference(HERE, now) == "versions: triton None then, 3.7 now"
    assert facts_.difference(HERE, HERE | {"cpu": "Beta"}) == "cpu: Alpha then, Beta now"


def test_facts_say_nothing_about_who_or_where() -> None:
    text = repr(environment.describe())
    for private in (os.uname().nodename, str(Path.home()), str(Path.cwd())):
        assert private not in text


def test_describing_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), dict(os.environ)
    environment.describe()
    assert before == (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        dict(os.environ),
    )


HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("told", "commit"),
    [
        (HASH, HASH[:12]),
        (HASH[:12], HASH[:12]),
        (f" {HASH}+dirty\n", f"{HASH[:12]}+dirty"),
        (HASH[:11], None),
        (f"{HASH}8", None),
        (f"{HASH[:12]}+dusty", None),
        ("the newest one", None),
        (f"{HASH}\n{HASH}", None),
        ("", None),
    ],
)
def test_where_no_repository_is_the_commit_is_the_one_that_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, commit: str | None
) -> None:
    (tmp_path / "mssbench").mkdir()
    file = tmp_path / "mssbench" / "machine" / "facts.py"
    monkeypatch.setattr(environment, "__file__", str(file))
    monkeypatch.setenv("MSSBENCH_COMMIT", told)
    assert environment._commit() == commit
    (tmp_path / ".git").write_text("gitdir: nowhere")  # of a repository that did not come along
    assert environment._commit() == commit


def test_what_a_repository_says_of_its_commit_is_what_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "mssbench").mkdir()
    (tmp_path / "mssbench" / "a.py").write_text("")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    file = tmp_path / "mssbench" / "machine" / "facts.py"
    monkeypatch.setattr(environment, "__file__", str(file))
    monkeypatch.setenv("MSSBENCH_COMMIT", HASH)
    assert environment._commit() == head.stdout[:12]
    (tmp_path / "mssbench" / "a.py").write_text("x = 1")
    assert environment._commit() == f"{head.stdout[:12]}+dirty"


def test_facts_of_a_machine_with_gpus_name_each_of_them_and_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    def properties(i: int) -> SimpleNamespace:
        more = {"L2_cache_size": 2**25} if i == 0 else {}  # a torch that does not tell
        return SimpleNamespace(
            name=f"NVIDIA {'AB'[i]}",
            total_memory=2**30 << i,
            major=9,
            minor=i,
            multi_processor_count=132,
            **more,
        )

    without = environment.describe() | {"gpus": [], "driver": None}
    nvml = SimpleNamespace(nvmlInit=lambda: None, nvmlSystemGetDriverVersion=lambda: b"580.1")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.backends.cuda, "preferred_linalg_library", lambda: "magma")
    found = environment.describe()
    assert found["gpus"] == [
        {
            "name": "NVIDIA A",
            "memory_bytes": 2**30,
            "multiprocessors": 132,
            "l2_bytes": 2**25,
            "capability": "9.0",
        },
        {
            "name": "NVIDIA B",
            "memory_bytes": 2**31,
            "multiprocessors": 132,
            "l2_bytes": None,
            "capability": "9.1",
        },
    ]
    assert (found["driver"], found["preferred_linalg_library"]) == ("580.1", "magma")
    assert found["allow_tf32"] is torch.backends.cuda.matmul.allow_tf32
    assert facts_.identify(found) != facts_.identify(without)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = environment.describe()
    assert (found["gpus"], found["driver"]) == ([], None)
