"""Methods that change the process they run in: those after them meet nothing of it."""

import builtins
import gc
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cells import CELL, FAST
from threadpoolctl import threadpool_info, threadpool_limits

from mssbench.measure.instruments.ceilings import Ceilings
from mssbench.measure.instruments.clocks import HostClock
from mssbench.measure.measure import Result, measure
from mssbench.measure.new_content import NewContent
from mssbench.measure.process_state import Snapshot
from mssbench.methods import pair, registry
from mssbench.methods.method import Root
from mssbench.methods.registry import register_forward
from mssbench.records.measurement import Status
from mssbench.records.noise import LEFT_CHANGES

AFTER = replace(CELL, forward="svd", backward="autodiff")  # needs gradients


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with registry.temporarily():
        yield
    pair.forget()


def left_by(leave: Callable[[], object], **changes: Any) -> Result:
    """The result of a method that is right, and leaves something behind in each call."""

    @register_forward(cite="an attack, 2026", products=lambda: 9.0, yields=("sqrt",))
    def leaves(a: Any) -> Root:
        y = registry.lookup("forward", "eigh").call(a, frozenset(["sqrt"])).sqrt
        leave()
        return Root(sqrt=y)

    return measure(replace(CELL, forward="leaves", **changes), FAST)


def numbers_of_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def leave_environment() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("PATH", None)


def leave_modes() -> None:
    from torch.overrides import BaseTorchFunctionMode

    if not torch._C._len_torch_function_stack():
        BaseTorchFunctionMode().__enter__()


def leave_filters() -> None:
    warnings.simplefilter("error")


def _files() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def patched(module: Any, name: str) -> Callable[[], None]:
    before = getattr(module, name)

    def call(*given: Any, **more: Any) -> Any:
        return before(*given, **more)

    return lambda: setattr(module, name, call)


CASES: dict[str, tuple[Callable[[], object], Callable[[], Any], str]] = {
    "threads": (
        lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        torch.get_num_threads,
        "torch's threads",
    ),
    "dtype": (
        lambda: torch.set_default_dtype(torch.float16),
        torch.get_default_dtype,
        "default dtype",
    ),
    "device": (
        lambda: torch.set_default_device("meta"),
        torch.get_default_device,
        "default device",
    ),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        torch.are_deterministic_algorithms_enabled,
        "deterministic mode",
    ),
    "anomaly": (
        lambda: torch.autograd.set_detect_anomaly(True),
        torch.is_anomaly_enabled,
        "anomalies",
    ),
    "products": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
        "float32 products",
    ),
    "subnormal": (
        lambda: torch.set_flush_denormal(True),
        lambda: float(torch.tensor(5e-324, dtype=torch.float64) * 1) > 0,
        "subnormal",
    ),
    "oneDNN": (
        lambda: torch._C._set_mkldnn_enabled(False),
        lambda: torch._C._get_mkldnn_enabled(),
        "libraries",
    ),
    "modes": (leave_modes, torch._C._len_torch_function_stack, "modes of torch"),
    "seterr": (lambda: np.seterr(all="raise"), np.geterr, "handling of errors"),
    "directory": (lambda: os.chdir("/"), os.getcwd, "working directory"),
    "environment": (leave_environment, lambda: dict(os.environ), "environment"),
    "alarm": (lambda: signal.alarm(300), lambda: signal.getitimer(signal.ITIMER_REAL), "a timer"),
    "profiling timer": (
        lambda: signal.setitimer(signal.ITIMER_PROF, 300.0),
        lambda: signal.getitimer(signal.ITIMER_PROF),
        "a timer",
    ),
    "open files": (
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, _files()[1])),
        lambda: _files(),
        "limits of resources",
    ),
    "callbacks": (
        lambda: gc.callbacks.append(lambda *_: None),
        lambda: list(gc.callbacks),
        "callbacks of the garbage collector",
    ),
    "printing": (
        lambda: np.set_printoptions(precision=2),
        np.get_printoptions,
        "numpy's way of printing",
    ),
    "sum": (patched(builtins, "sum"), lambda: builtins.sum, "builtins.sum"),
    "handler": (
        lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        lambda: signal.getsignal(signal.SIGTERM),
        "handlers",
    ),
    "filters": (leave_filters, lambda: list(warnings.filters), "filters of warnings"),
    "recursion": (lambda: sys.setrecursionlimit(250), sys.getrecursionlimit, "recursion"),
    "switching": (lambda: sys.setswitchinterval(1.0), sys.getswitchinterval, "switch interval"),
    "collector": (lambda: gc.set_threshold(1), gc.get_threshold, "garbage collector"),
    "tracing": (lambda: sys.setprofile(lambda *_: None), sys.getprofile, "profile function"),
    "clock": (
        patched(time, "perf_counter_ns"),
        lambda: time.perf_counter_ns,
        "time.perf_counter_ns",
    ),
    "torch": (patched(torch, "bmm"), lambda: torch.bmm, "torch.bmm"),
    "linalg": (patched(np.linalg, "eigh"), lambda: np.linalg.eigh, "numpy.linalg.eigh"),
}


@pytest.mark.parametrize(("leave", "read", "name"), CASES.values(), ids=CASES)
def test_attack_a_method_leaves_a_setting_behind(
    leave: Callable[[], object], read: Callable[[], Any], name: str
) -> None:
    before = read()
    found = left_by(leave)
    assert read() == before
    assert not found.lost
    for m in found.measurements:
        assert m.status is Status.OK, m.reason
        assert name in m.reason
        assert LEFT_CHANGES in m.values["flags"].split()
    for m in measure(AFTER, FAST).measurements:
        assert m.status is Status.OK, m.reason
        assert LEFT_CHANGES not in m.values["flags"]


@pytest.mark.parametrize(
    ("leave", "read", "name"),
    [
        (lambda: torch._C._set_grad_enabled(False), torch.is_grad_enabled, "grad mode"),
        (
            lambda: torch.set_autocast_enabled("cpu", True),
            lambda: torch.is_autocast_enabled("cpu"),
            "autocast",
        ),
    ],
    ids=["grad mode", "autocast"],
)
def test_attack_a_recorded_step_changes_how_all_that_follow_are_recorded(
    leave: Callable[[], object], read: Callable[[], bool], name: str
) -> None:
    """It has itself to blame if its own rows crash of it."""
    before = read()
    found = left_by(leave, backward="autodiff")
    assert read() is before
    assert all(name in m.reason for m in found.measurements)
    assert {m.status for m in measure(AFTER, FAST).measurements} == {Status.OK}


def test_attack_the_threads_of_the_other_blas() -> None:
    before = numbers_of_threads()
    found = left_by(lambda: threadpool_limits(1, user_api="blas"))
    assert numbers_of_threads() == before
    if max(before) > 1:
        assert "the threads of lib" in found.measurements[0].reason


def test_attack_the_cores_of_every_thread() -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core is all there is")
    found = left_by(lambda: os.sched_setaffinity(0, {min(cores)}))
    assert "the cores it may use" in found.measurements[0].reason
    for thread in Path("/proc/self/task").iterdir():
        assert os.sched_getaffinity(int(thread.name)) == cores


def test_attack_the_mask_of_new_files(tmp_path: Path) -> None:
    found = left_by(lambda: os.umask(0o777))
    assert "new files" in found.measurements[0].reason
    (tmp_path / "file").write_text("it can be read again")
    assert (tmp_path / "file").read_text()


def test_attack_a_directory_that_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def leave() -> None:
        folder = tmp_path / str(random.random())
        folder.mkdir()
        os.chdir(folder)
        folder.rmdir()

    found = left_by(leave)
    assert "working directory" in found.measurements[0].reason
    assert Path.cwd() == tmp_path


def test_attack_settings_of_a_method_that_crashes() -> None:
    before = torch.get_num_threads()

    def leave() -> None:
        torch.set_num_threads(before + 1)
        raise ValueError("after all that")

    found = left_by(leave)
    assert torch.get_num_threads() == before
    for m in found.measurements:
        assert m.status is Status.CRASHED
        assert "after all that" in m.reason
        assert "torch's threads" in m.reason


def test_attack_a_thread_goes_on_computing() -> None:
    """Only another process is free of it; a pool that waits for work harms nobody."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            pass

    def leave() -> None:
        if threading.active_count() < 3:
            threading.Thread(target=work, daemon=True).start()

    try:
        found = left_by(leave)
    finally:
        stop.set()
    assert found.lost
    assert "a thread that still computes" in found.measurements[0].reason

    waiting = threading.Event()
    found = left_by(lambda: threading.Thread(target=waiting.wait, daemon=True).start())
    waiting.set()
    assert not found.lost


def test_attack_a_process_goes_on_computing() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def leave() -> None:
        if not started:
            started.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))

    try:
        found = left_by(leave)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert found.lost
    assert "a process that still computes" in found.measurements[0].reason


def test_attack_what_can_be_set_once_costs_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [4]
    monkeypatch.setattr("mssbench.measure.process_state._OF_PROCESS", ())
    from mssbench.measure import process_state
    from mssbench.measure.torch_state import Setting

    def refuses(_: object) -> None:
        raise RuntimeError("cannot set number of interop threads after parallel work has started")

    once = Setting("threads between operations", lambda: now[0], refuses)
    monkeypatch.setattr(process_state, "OF_TORCH", (once,))
    snapshot = Snapshot()
    now[0] = 1
    assert snapshot.finish().lasting == ["threads between operations"]


def test_a_method_that_changes_nothing_is_not_flagged() -> None:
    (m,) = left_by(lambda: None).measurements
    assert (m.status, m.reason) == (Status.OK, "")
    assert LEFT_CHANGES not in m.values["flags"]


def test_attack_a_clock_at_half_speed_changes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks keep the functions that they were imported with."""
    true, started = time.perf_counter_ns, time.perf_counter_ns()
    slow = lambda: started + (true() - started) // 1000  # noqa: E731
    monkeypatch.setattr(time, "perf_counter_ns", slow)
    seconds = HostClock().block(lambda _: time.sleep(0.01), [None])
    assert 0.01 <= seconds < 1.0


def test_attack_a_synchronization_that_does_nothing_is_put_back() -> None:
    before = torch.cuda.synchronize
    (m,) = left_by(lambda: setattr(torch.cuda, "synchronize", lambda *_: None)).measurements
    assert torch.cuda.synchronize is before
    assert "torch.cuda.synchronize" in m.reason


def test_attack_a_setting_that_can_no_longer_be_read() -> None:
    """torch refuses to tell its older setting once a newer one disagrees with it."""
    before = torch.get_float32_matmul_precision()
    for name in ("cuda", "mkldnn"):
        newer = getattr(torch.backends, name).matmul

        def leave(newer: Any = newer) -> None:
            newer.fp32_precision = "tf32"

        (m,) = left_by(leave).measurements
        assert m.status is Status.OK, m.reason
        assert LEFT_CHANGES in m.values["flags"]
        assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("name", ["matmul", "__matmul__", "sum", "backward"])
def test_attack_a_method_of_tensors_is_replaced(name: str) -> None:
    before = getattr(torch.Tensor, name)
    (m,) = left_by(lambda: setattr(torch.Tensor, name, lambda *_: None)).measurements
    assert getattr(torch.Tensor, name) is before
    assert f"torch.Tensor.{name}" in m.reason


def test_attack_the_ends_of_children_are_ignored() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    (m,) = left_by(lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)).measurements
    assert signal.getsignal(signal.SIGCHLD) == before
    assert "the handlers of signals" in m.reason


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_stays_as_it_was(enabled: bool) -> None:
    from mssbench.measure.on_demand import held

    (gc.enable if enabled else gc.disable)()
    try:
        with held(replace(CELL, forward="eigh"), FAST, verify=True):
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def threads_at_ceilings(monkeypatch: pytest.MonkeyPatch, leave: Callable[[], object]) -> set[int]:
    """The numbers of torch's threads, 2 at first, when ceilings are asked for in a method's cell.

    leave: what the method does in each call.
    """
    seen: set[int] = set()
    measured = Ceilings.best

    def best(*given: Any, **named: Any) -> Any:
        seen.add(torch.get_num_threads())
        return measured(*given, **named)

    monkeypatch.setattr(Ceilings, "best", best)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        left_by(leave)
    finally:
        torch.set_num_threads(before)
    return seen


def test_attack_what_a_method_sets_does_not_hold_for_the_ceilings_of_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are kept for other rows. The method is called again after it was timed, and sets it."""
    monkeypatch.setattr(NewContent, "_is_suspected", lambda _: True)
    assert threads_at_ceilings(monkeypatch, lambda: torch.set_num_threads(1)) == {2}


def test_attack_what_a_method_sets_when_its_work_is_counted_again_does_not_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first calls seem long, so that it is counted after the samples; ceilings come then."""
    calls = 0

    def slow_at_first() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.03 if calls <= 3 else 0.0)
        torch.set_num_threads(1)

    assert threads_at_ceilings(monkeypatch, slow_at_first) == {2}


def test_attack_a_module_is_removed_from_those_imported() -> None:
    import scipy.linalg

    def leave() -> None:
        sys.modules.pop("scipy.linalg", None)
        torch.set_num_threads(1)

    threads = torch.get_num_threads()
    result = left_by(leave)
    (m,) = result.measurements
    assert m.status is Status.OK, m.reason
    assert not result.lost
    assert sys.modules["scipy.linalg"] is scipy.linalg
    assert torch.get_num_threads() == threads
    assert "the imported module scipy.linalg" in m.reason
    assert threads == 1 or "torch's threads" in m.reason


def test_a_process_whose_state_cannot_be_compared_measures_no_further_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: Snapshot) -> None:
        raise KeyError("a module")

    monkeypatch.setattr(Snapshot, "finish", broken)
    result = left_by(lambda: None)
    assert result.lost
    assert {m.status for m in result.measurements} == {Status.CRASHED}
