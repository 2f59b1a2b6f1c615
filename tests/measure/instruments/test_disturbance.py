"""What disturbed a measurement, from a load average and an NVML that we make."""

import os
from types import SimpleNamespace

import pytest
import torch
from helpers.fake_cuda import FakeCuda

from mssbench.measure.instruments import disturbance
from mssbench.measure.instruments.disturbance import Reading, Watchman, read_gpu


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.fixture
def watchman():
    return Watchman()


def flags(monkeypatch, *readings, device="cuda", by=None):
    """The flags of a block, by a watchman of its own or by one that has seen others."""
    left = iter(readings)
    monkeypatch.setattr(disturbance, "read_gpu", lambda: next(left))
    with (by or Watchman()).watched(device) as watch:
        for _ in readings:
            watch.look()
    return watch.flags


CALM = Reading(1980, (), 1)


def test_a_calm_machine_has_no_flag(monkeypatch):
    assert flags(monkeypatch, CALM, CALM) == []
    assert flags(monkeypatch, None) == ["unwatched"]  # no NVML: nothing is claimed, and that said
    assert flags(monkeypatch, device="cpu") == []


def test_other_work_on_the_cores_is_a_flag(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)  # the load is that of all of them
    monkeypatch.setattr(os, "getloadavg", lambda: (64.4, 99.0, 99.0))
    assert flags(monkeypatch, device="cpu") == []  # we are a load ourselves
    monkeypatch.setattr(os, "getloadavg", lambda: (64.6, 0.0, 0.0))
    assert flags(monkeypatch, device="cpu") == ["loaded"]
    assert flags(monkeypatch, CALM, device="cuda") == []  # a GPU has its own clock


def test_a_clock_is_low_against_the_highest_of_this_process(monkeypatch, watchman):
    assert flags(monkeypatch, CALM, by=watchman) == []
    assert flags(monkeypatch, Reading(1800, (), 1), by=watchman) == []
    assert flags(monkeypatch, Reading(1700, (), 1), by=watchman) == ["clock_low"]
    assert flags(monkeypatch, Reading(1700, (), 1)) == []  # another process has seen no other


def test_a_throttled_or_shared_gpu_is_a_flag(monkeypatch):
    assert flags(monkeypatch, Reading(1980, ("thermal",), 1), CALM) == ["throttled"]
    assert flags(monkeypatch, Reading(1980, (), 2)) == ["shared_gpu"]
    arms = Watchman(arms=3)  # of a comparison, which take turns
    assert flags(monkeypatch, Reading(1980, (), 3), by=arms) == []
    assert flags(monkeypatch, Reading(1980, (), 4), by=arms) == ["shared_gpu"]


@pytest.mark.parametrize(
    ("bits", "slowed"),
    [
        (0, ()),
        (1, ()),
        (0x4, ("power_cap",)),
        (0x20, ("thermal",)),
        (0x40, ("thermal",)),
        (0x88, ("hardware", "power_brake")),
    ],
)
def test_reasons_are_read_from_the_bits_and_nothing_is_set(monkeypatch, bits, slowed):
    nvml = SimpleNamespace(
        NVML_CLOCK_SM=1,
        nvmlDeviceGetClockInfo=lambda handle, kind: 1410,
        nvmlDeviceGetCurrentClocksEventReasons=lambda handle: bits,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: ["ours"],
    )
    monkeypatch.setattr(disturbance, "_nvml", lambda: (nvml, "a handle"))
    assert read_gpu() == Reading(1410, slowed, 1)


def test_one_question_that_is_refused_leaves_the_others_answered(monkeypatch):
    def refuse(*_):
        raise RuntimeError("not supported")

    nvml = SimpleNamespace(
        NVML_CLOCK_SM=1,
        nvmlDeviceGetClockInfo=refuse,
        nvmlDeviceGetCurrentClocksEventReasons=lambda handle: 0x20,
    )  # and no word about processes
    monkeypatch.setattr(disturbance, "_nvml", lambda: (nvml, "a handle"))
    assert read_gpu() == Reading(None, ("thermal",), None)
    assert flags(monkeypatch, read_gpu()) == ["throttled"]
    monkeypatch.setattr(disturbance, "_nvml", lambda: None)
    assert read_gpu() is None


def test_a_gpu_is_read_while_it_works_and_is_idle_again_afterwards(monkeypatch):
    """One that is idle shows the clock of an idle one."""
    cuda = FakeCuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    ahead = []

    def read():
        ahead.append(cuda.device - cuda.host)  # seconds of work that is queued
        return Reading(1700, ("thermal",), 1)

    monkeypatch.setattr(disturbance, "read_gpu", read)
    with Watchman().watched("cuda") as watch:
        watch.look_at_work()
        assert cuda.host == cuda.device
    assert ahead == [pytest.approx(5e-3, rel=0.01)]
    assert watch.flags == ["throttled"]
    with Watchman().watched("cpu") as watch:
        watch.look_at_work()
    assert (len(ahead), watch.flags) == (1, [])  # a CPU has nothing to be read
