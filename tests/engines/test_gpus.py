"""Several GPUs: which of them a run uses, and what its workers share."""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import load, orphans, stand_in, table, wish, write_suite
from helpers.tables import called

from mssbench.engines import gpus, local, slots
from mssbench.engines.events import Event, Finished, Killed
from mssbench.engines.process import Answer
from mssbench.engines.slots import Slot
from mssbench.engines.start import Setup
from mssbench.errors import RunError
from mssbench.machine import devices
from mssbench.machine.devices import Gpu
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status
from mssbench.results.facts_file import read_facts
from mssbench.run.run import run

H200, T400 = "NVIDIA H200", "NVIDIA T400"
UUIDS = [f"{i + 1:032x}" for i in range(8)]
DASHED = "GPU-00000000-0000-0000-0000-000000000001"  # as nvidia-smi prints the first
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    """Pretend that there are GPUs of these models, and cores; threads: of one physical core."""
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.0)

    def pretend(*models: str, cores: Sequence[int] = range(8), threads: int = 1) -> None:
        found = tuple(map(Gpu, models, UUIDS))
        monkeypatch.setattr(slots, "cuda_devices", lambda: found)
        monkeypatch.setattr(devices, "cuda_devices", lambda: found)
        monkeypatch.setattr(slots, "usable_cores", lambda: tuple(cores))
        monkeypatch.setattr(gpus, "usable_cores", lambda: tuple(cores))
        # As Linux numbers them: first one logical core of each physical core, then the others.
        physical = len(cores) // threads
        monkeypatch.setattr(slots, "first_sibling", lambda core: core % physical)

    yield pretend
    assert orphans(tmp_path / "locks") == []


def cell(forward: str = "eigh", seed: int = 0, device: str = "cuda") -> Cell:
    return Cell(
        "numpy", forward, "none", "sqrt", "p", 4, 2, None, None, "", "float64", device, seed
    )


def cells(count: int) -> list[Cell]:
    return [cell(seed=seed) for seed in range(count)]


def chosen(text: str) -> list[str]:
    return [slot.gpu for slot in gpus.choose(text, [cell()])]


def refusal(text: str, *of: Cell) -> str:
    with pytest.raises(RunError) as error:
        gpus.choose(text, of or [cell()])
    return str(error.value)


# Which GPUs a run uses.


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("0", ["0"]),
        ("2,0", ["0", "2"]),
        (" 0 , 2,", ["0", "2"]),
        ("h200", ["0", "2"]),
        ("T400", ["1"]),
        (DASHED, ["0"]),
        (DASHED.replace("GPU", "gpu"), ["0"]),
    ],
)
def test_gpus_are_named_by_number_uuid_or_model(
    machine: Machine, text: str, entries: list[str]
) -> None:
    machine(H200, T400, H200)
    assert chosen(text) == entries


ALL = "visible are 0: NVIDIA H200, 1: NVIDIA T400, 2: NVIDIA H200"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", f"--devices: there is no GPU 5; {ALL}."),
        ("0,A100", f"--devices: there is no GPU A100; {ALL}."),
        ("-1", f"--devices: there is no GPU -1; {ALL}."),
        ("GPU-1234", f"--devices: there is no GPU GPU-1234; {ALL}."),
        (
            "MIG-1234",
            f"--devices: there is no GPU MIG-1234; {ALL}. "
            "A slice of a GPU (MIG) is visible if CUDA_VISIBLE_DEVICES names it.",
        ),
        ("", f"--devices names no GPU; {ALL}."),
        (" , ", f"--devices names no GPU; {ALL}."),
        ("0,0", "--devices names GPU 0 twice: as 0."),
        ("2,H200", "--devices names GPU 2 twice: as 2 and as H200."),
        (f"0,{DASHED}", f"--devices names GPU 0 twice: as 0 and as {DASHED}."),
        (
            "0,1,2",
            "--devices names GPUs of different models (0: NVIDIA H200, 1: NVIDIA T400, "
            "2: NVIDIA H200): their times would not compare. Measure each model in a run of its "
            "own: --devices 0,2 and --devices 1, each with an --out of its own.",
        ),
    ],
)
def test_gpus_that_cannot_be_used_are_refused(machine: Machine, text: str, message: str) -> None:
    machine(H200, T400, H200)
    assert refusal(text) == message


def test_devices_are_refused_without_a_gpu_and_without_a_cell_for_one(machine: Machine) -> None:
    machine(H200)
    assert refusal("0", cell(device="cpu")) == (
        "--devices: no cell of this suite is measured on a GPU. Leave out --devices, or add "
        "--device cuda."
    )
    machine()
    assert refusal("0", cell(device="cpu")) == (
        "--devices: there is no GPU here: the NVIDIA driver shows none (see `mssbench doctor`)."
    )


def test_numbers_count_within_the_gpus_that_are_visible(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(H200, H200)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert chosen("1") == ["7"]
    assert refusal("5") == (
        "--devices: there is no GPU 5; visible are 0: NVIDIA H200, 1: NVIDIA H200. "
        "CUDA_VISIBLE_DEVICES=5,7 hides all others, and numbers count within it."
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    assert chosen("MIG-b") == ["MIG-b"]


def test_a_run_takes_the_gpus_of_the_first_model_and_says_which_it_leaves_out(
    machine: Machine,
) -> None:
    machine(H200, T400, H200, "NVIDIA A100", T400)
    assert [slot.gpu for slot in slots.gpu_slots()] == ["0", "2"]
    assert list(gpus.left_out([cell()])) == [
        "Not measured on 1: NVIDIA T400, 3: NVIDIA A100, 4: NVIDIA T400: times of two models would "
        "not compare. Measure each model in a run of its own: --devices 1,4 and --devices 3, each "
        "with an --out of its own."
    ]
    assert list(gpus.left_out([cell(device="cpu")])) == []
    machine(H200, T400)
    (said,) = gpus.left_out([cell()])
    assert said.endswith("in a run of its own: --devices 1, with an --out of its own.")
    for models in ([], [H200], [H200] * 3):
        machine(*models)
        assert list(gpus.left_out([cell()])) == []


def test_a_run_says_on_how_many_gpus_it_measures(machine: Machine) -> None:
    machine(*[H200] * 4)
    used = slots.gpu_slots()
    assert gpus.described(used, [cell()]) == " on 4 GPUs, NVIDIA H200"
    assert gpus.described(used[:1], [cell()]) == " on 1 GPU, NVIDIA H200"
    both = [cell(), cell(device="cpu")]
    assert gpus.described(used, both) == " on the CPU and 4 GPUs, NVIDIA H200"
    assert gpus.described(used, both[1:]) == gpus.described([], both) == ""


# The cores and the lock of a GPU.


def test_a_gpu_has_the_same_cores_in_every_run_and_no_other_gpu_has_them(
    machine: Machine,
) -> None:
    """So runs on 1 and on 4 GPUs have one environment, and may take place at the same time."""
    machine(*[H200] * 4, cores=range(18))
    every = slots.gpu_slots()
    assert [slot.cores for slot in every] == [
        (0, 1, 2, 3),
        (4, 5, 6, 7),
        (8, 9, 10, 11),
        (12, 13, 14, 15),
    ]
    for number, slot in enumerate(every):
        assert gpus.choose(str(number), [cell()]) == [slot]
    machine(H200, T400, H200, T400, cores=range(16))
    assert [slot.cores for slot in slots.gpu_slots()] == [every[0].cores, every[2].cores]


@pytest.mark.parametrize(
    ("cores", "count", "shares"),
    [
        (8, 2, [(0, 4, 1, 5), (2, 6, 3, 7)]),
        (16, 3, [(0, 8, 1, 9), (2, 10, 3, 11), (4, 12, 5, 13)]),  # not 5: a pair would be parted
        (4, 4, [(0,), (2,), (1,), (3,)]),
    ],
)
def test_logical_cores_of_one_physical_core_go_to_the_same_gpu(
    machine: Machine, cores: int, count: int, shares: list[tuple[int, ...]]
) -> None:
    machine(*[H200] * count, cores=range(cores), threads=2)
    assert [slot.cores for slot in slots.visible_slots()] == shares


def test_siblings_are_read_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"cpu1/": "1,65", "cpu5/": "4-5", "cpu70/": "6,70"}
    monkeypatch.setattr(
        slots, "text_of", lambda path: next((t for k, t in texts.items() if k in path), None)
    )
    assert [slots.first_sibling(core) for core in (1, 5, 70, 3)] == [1, 4, 6, 3]


def test_at_most_as_many_gpus_as_cores_measure_at_a_time(machine: Machine) -> None:
    machine(*[H200] * 4, cores=[2, 3])
    assert [(slot.gpu, slot.cores) for slot in slots.gpu_slots()] == [("0", (2,)), ("1", (3,))]
    assert list(gpus.left_out([cell()])) == [
        "Not measured on 2: NVIDIA H200, 3: NVIDIA H200: this process may use 2 cores, and each "
        "GPU needs one of its own. Grant more cores to use all GPUs."
    ]
    assert chosen("2,3") == ["2", "3"]
    assert refusal("0,2") == (
        "--devices: GPUs 0 and 2 would share a core, which would disturb their times: this process "
        "may use 2 cores and sees 4 GPUs. Name fewer GPUs, hide those that you do not use by "
        "CUDA_VISIBLE_DEVICES, or grant more cores."
    )


@pytest.mark.parametrize("entry", ["0", DASHED, "GPU-0000"])
def test_a_gpu_has_one_lock_however_it_is_spelled(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    machine(H200)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", entry)
    assert [(s.gpu, s.lock) for s in slots.gpu_slots()] == [(entry, f"gpu-{UUIDS[0]}")]


def test_slices_of_a_gpu_have_a_lock_each(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(H200, H200)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    assert [s.lock for s in slots.gpu_slots()] == ["gpu-MIG-a", "gpu-MIG-b"]


def test_a_worker_gets_its_gpu_in_whatever_order_this_process_counts(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(H200)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert [slot.gpu for slot in slots.gpu_slots()] == [DASHED]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0000")
    assert [slot.gpu for slot in slots.gpu_slots()] == ["GPU-0000"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert [slot.gpu for slot in slots.gpu_slots()] == ["0"]


# What happens on several GPUs at a time. Tired is a worker in this process, whose speed is that of
# its GPU; it notes who measures when.


class Tired:
    """A worker that notes which cell it measures on which GPU."""

    undone = ()
    seconds: dict[str, float]  # of a cell, by entry of the GPU
    busy: Counter[str]
    overlaps: list[str]  # UUIDs of GPUs that measured two cells at a time
    most_at_once: list[int]
    served_by: dict[str, list[int]]  # seeds of cells by UUID
    kill_once: set[int]  # seeds of cells that are killed from outside the first time
    lock = threading.Lock()

    def __init__(self, slot: Slot, *_: object) -> None:
        self.slot, self.served, self.killed = slot, 0, ""

    def start(self) -> tuple[dict[str, Any], str]:
        return {}, "here"

    def ask(self, cell: Cell, _share: float) -> Answer:
        self.served += 1
        uuid = self.slot.uuid
        with Tired.lock:
            Tired.busy[uuid] += 1
            Tired.most_at_once.append(Tired.busy.total())
            if Tired.busy[uuid] > 1:
                Tired.overlaps.append(uuid)
        time.sleep(Tired.seconds.get(self.slot.gpu, 0.01))
        with Tired.lock:
            Tired.busy[uuid] -= 1
            if cell.seed in Tired.kill_once:
                Tired.kill_once.discard(cell.seed)
                return Answer(None, True, True, True, Status.CRASHED, "killed", "signal 9")
            Tired.served_by.setdefault(uuid, []).append(cell.seed)
        return Answer({"rows": [{"status": "ok"}], "samples": [[]], "spent": {}, "lost": False})

    def ceilings(self, _: str) -> dict[str, float]:
        return {"float32": 1.0}

    def close(self) -> None:
        pass


@pytest.fixture
def tired(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(local, "Worker", Tired)
    for name, value in {
        "seconds": {},
        "busy": Counter(),
        "overlaps": [],
        "most_at_once": [],
        "served_by": {},
        "kill_once": set(),
    }.items():
        monkeypatch.setattr(Tired, name, value, raising=False)
    return machine


def finished(events: Sequence[Event]) -> list[int]:
    return sorted(e.cell.seed for e in events if isinstance(e, Finished))


def test_a_fast_gpu_measures_more_cells_and_each_cell_is_measured_once(tired: Machine) -> None:
    tired(*[H200] * 3)
    Tired.seconds = {"0": 0.2}
    assert finished(list(local.run(cells(30), Setup({})))) == list(range(30))
    counts = {uuid: len(seeds) for uuid, seeds in Tired.served_by.items()}
    assert counts[UUIDS[0]] < min(counts[UUIDS[1]], counts[UUIDS[2]])
    assert max(Tired.most_at_once) == 3
    assert not Tired.overlaps


def test_only_the_chosen_gpus_measure(tired: Machine) -> None:
    tired(*[H200] * 4)
    used = gpus.choose("1,3", [cell()])
    assert finished(list(local.run(cells(8), Setup({}), gpus=used))) == list(range(8))
    assert Tired.served_by.keys() == {UUIDS[1], UUIDS[3]}


def test_two_runs_at_once_never_measure_on_one_gpu_at_the_same_time(tired: Machine) -> None:
    tired(*[H200] * 2)
    found: list[list[Event]] = []
    runs = [
        threading.Thread(target=lambda: found.append(list(local.run(cells(20), Setup({})))))
        for _ in range(2)
    ]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert [finished(events) for events in found] == [list(range(20))] * 2
    assert not Tired.overlaps
    assert max(Tired.most_at_once) <= 2


def test_two_slots_of_one_gpu_take_turns(tired: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices that CUDA numbers have the UUID of their GPU."""
    tired(H200, H200)
    twice = [slot._replace(uuid="one") for slot in slots.gpu_slots()]
    assert finished(list(local.run(cells(10), Setup({}), gpus=twice))) == list(range(10))
    assert not Tired.overlaps
    assert max(Tired.most_at_once) == 1


def test_a_run_ends_though_another_run_still_has_one_of_its_gpus(tired: Machine) -> None:
    tired(*[H200] * 2)
    held = slots.lock_slot(slots.gpu_slots()[0], lambda _: False)
    assert held is not None
    try:
        # With a limit, so that a run that waits for the lock fails instead of never ending.
        end = time.monotonic() + 30
        late: list[bool] = []

        def stopped() -> bool:
            late.append(time.monotonic() > end)
            return late[-1]

        assert finished(list(local.run(cells(5), Setup({}), stopped))) == list(range(5))
        assert not any(late)
    finally:
        os.close(held)
    assert Tired.served_by.keys() == {UUIDS[1]}


def test_a_worker_that_is_killed_stops_no_other_gpu(tired: Machine) -> None:
    tired(*[H200] * 3)
    Tired.kill_once = {0, 4}
    events = list(local.run(cells(15), Setup({})))
    assert finished(events) == list(range(15))
    assert sum(isinstance(e, Killed) for e in events) == 2
    assert len(Tired.served_by) == 3
    assert not Tired.overlaps


# With worker processes, and the command.

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two GPUs need two cores")


def places(file: Path) -> list[tuple[int, str, tuple[int, ...]]]:
    """Process, GPU and cores of each cell that a stand-in has measured."""
    lines = map(json.loads, file.read_text().splitlines())
    return [(pid, gpu, tuple(cores)) for pid, gpu, cores, *_ in lines]


def both_have_begun(folder: Path) -> Callable[[], bool]:
    """Open the gate, for which the second cell of each worker waits, when two GPUs have begun.

    As the argument `stopped`, it is called again and again, and stops nothing.
    """

    def never() -> bool:
        file = folder / "places"
        if file.exists() and len({gpu for _, gpu, _ in places(file)}) == 2:
            (folder / "gate").touch()
        return False

    return never


@two_cores
def test_each_worker_sees_its_gpu_alone_and_is_kept_to_its_own_cores(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(H200, H200, T400, cores=slots.usable_cores()[:3])
    if len(slots.usable_cores()) < 3:
        machine(H200, H200, cores=slots.usable_cores())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7,9")
    wish(monkeypatch, places=tmp_path / "places", gate=tmp_path / "gate")
    setup = Setup({"policy": {}, "max_error": 0.1}, python=stand_in(tmp_path))
    events = list(local.run(cells(12), setup, both_have_begun(tmp_path)))
    assert finished(events) == list(range(12))
    found = set(places(tmp_path / "places"))
    assert {gpu for _, gpu, _ in found} == {"5", "GPU-7"}
    assert len(found) == 2  # one process on each, with the same cores for all of its cells
    (_, _, first), (_, _, second) = found
    assert len(first) == len(second) == 1
    assert not {*first} & {*second}


@two_cores
def test_a_worker_process_that_is_killed_is_replaced_on_its_gpu_while_the_other_one_measures(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(H200, H200, cores=slots.usable_cores())
    wish(
        monkeypatch,
        places=tmp_path / "places",
        gate=tmp_path / "gate",
        do={"svd": "SIGKILL"},
        once=tmp_path / "once",
    )
    setup = Setup({"policy": {}, "max_error": 0.1}, python=stand_in(tmp_path))
    events = list(local.run([cell("svd", 99), *cells(12)], setup, both_have_begun(tmp_path)))
    assert finished(events) == [*range(12), 99]
    assert [e.how for e in events if isinstance(e, Killed)] == ["signal 9 (SIGKILL)"]
    assert {e.rows[0]["status"] for e in events if isinstance(e, Finished)} == {"ok"}
    processes = {pid: gpu for pid, gpu, _ in places(tmp_path / "places")}
    assert sorted(Counter(processes.values()).values()) == [1, 2]


@pytest.fixture
def suite(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A suite of eight cells, on a machine whose libraries can use GPUs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "check_library", lambda *_: None)
    return write_suite(tmp_path, "forward = ['torch/eigh', 'torch/svd']", seeds=4)


@pytest.mark.slow
def test_a_run_on_some_gpus_is_resumed_on_others_of_the_model(
    machine: Machine, suite: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cores = slots.usable_cores()
    machine(*[H200] * len(cores), cores=cores)
    loaded = load(suite, "device=cuda")
    wish(monkeypatch, placed=True)
    first = gpus.choose("0", loaded.cells)
    python = stand_in(tmp_path)
    run(loaded.only(loaded.cells[:4], "seed < 2"), tmp_path / "out", python=python, gpus=first)
    summary = run(loaded, tmp_path / "out", python=python)
    assert summary.statuses == {"ok": 4}
    assert summary.kept == 4
    assert len({row["environment"] for row in table(tmp_path / "out")}) == 1
    (found,) = read_facts(tmp_path / "out")["environments"].values()
    assert found["cores"]["granted"] == 1


def test_gpus_of_one_name_that_differ_are_never_mixed_in_a_table(
    machine: Machine, suite: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For example of the same model with less memory, or with another driver setting."""
    machine(H200, H200, cores=[*slots.usable_cores()[:1] * 2])
    both = [slots.visible_slots()[0], slots.visible_slots()[1]]
    wish(
        monkeypatch,
        placed=True,
        gate=tmp_path / "never",  # so that the second worker is still needed when it is there
        gpus={str(i): {"name": H200, "memory_bytes": i} for i in (0, 1)},
    )
    loaded = load(suite, "device=cuda")
    with pytest.raises(RunError, match="different environments") as error:
        run(loaded, tmp_path / "out", python=stand_in(tmp_path), gpus=both)
    assert "gpus: " in str(error.value)
    with suppress(FileNotFoundError):
        kept = {row["environment"] for row in table(tmp_path / "out")} - {""}
        assert len(kept) <= 1


@pytest.mark.slow
def test_the_command_measures_on_the_gpus_that_it_is_told(
    machine: Machine,
    suite: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cores = slots.usable_cores()
    machine(T400, *[H200] * 2, cores=[*cores, *cores, *cores][:3])
    wish(monkeypatch, places=tmp_path / "places")
    common = ("run", suite, "--device", "cuda", "--python", stand_in(tmp_path))
    code, _, err = called(capsys, *common, "--devices", "2")
    assert code == 0
    assert "tiny: 8 of 8 cells to measure on 1 GPU, NVIDIA H200, about" in err
    assert "Not measured" not in err
    assert {gpu for _, gpu, _ in places(tmp_path / "places")} == {"2"}

    _, _, err = called(capsys, *common, "--out", "other")
    assert "8 of 8 cells to measure on 1 GPU, NVIDIA T400" in err
    assert "Not measured on 1: NVIDIA H200, 2: NVIDIA H200: times of two models" in err

    code, out, err = called(capsys, *common, "--devices", "0,1", "--out", "none")
    assert (code, out) == (2, "")
    assert "--devices names GPUs of different models (0: NVIDIA T400, 1: NVIDIA H200)" in err
    assert not (tmp_path / "none").exists()
    code, _, err = called(capsys, "run", suite, "--devices", "0", "--out", "none")
    assert code == 2
    assert "no cell of this suite is measured on a GPU" in err


def test_devices_are_refused_on_a_cluster(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slurm = ("--engine", "slurm", "--slurm", "partition=gpu")
    code, _, err = called(capsys, "run", suite, *slurm, "--devices", "0")
    assert code == 2
    assert "--devices names GPUs of this machine: leave it out" in err


def test_the_estimate_of_time_counts_the_gpus(machine: Machine, suite: Path) -> None:
    from mssbench.suite.forecast import START_SECONDS, seconds_here

    loaded = load(suite)
    on_cpu = list(loaded.cells)
    on_gpu = [replace(c, device="cuda") for c in on_cpu]

    def seconds(todo: list[Cell], count: int) -> float:
        return seconds_here(todo, loaded.policy, count) - START_SECONDS

    assert seconds(on_gpu, 4) == pytest.approx(seconds(on_gpu, 1) / 4)
    assert seconds(on_cpu, 4) == pytest.approx(seconds(on_cpu, 1))
