"""Choose the GPUs that a run measures on, for `mssbench run --devices`, and describe the choice."""

import os
from collections.abc import Iterable, Iterator, Sequence

from mssbench.engines.slots import Slot, gpu_slots, usable_cores, visible_slots
from mssbench.errors import RunError
from mssbench.records import units
from mssbench.records.cell import Cell


def choose(text: str, cells: Iterable[Cell]) -> list[Slot]:
    """Return the slots of the GPUs that --devices names, in the order of their numbers.

    text: numbers within the visible GPUs, UUIDs as `nvidia-smi -L` prints them, or parts of the
    names of models, separated by commas. cells: those of the suite.

    Raises RunError if there is no such GPU, a GPU is named twice, no cell is measured on a GPU, or
    the GPUs cannot be used in one run.
    """
    visible = visible_slots()
    if not visible:
        raise RunError(
            "--devices: there is no GPU here: the NVIDIA driver shows none (see `mssbench doctor`)."
        )
    if not _need_gpus(cells):
        raise RunError(
            "--devices: no cell of this suite is measured on a GPU. Leave out --devices, or add "
            "--device cuda."
        )

    all_visible = f"visible are {_listed(range(len(visible)), visible)}"
    named: dict[int, str] = {}
    for word in filter(None, map(str.strip, text.split(","))):
        numbers = _numbers(word, visible)
        if not numbers:
            raise RunError(f"--devices: there is no GPU {word}; {all_visible}.{_hidden(word)}")
        for number in numbers:
            if number in named:
                words = " and as ".join(dict.fromkeys([named[number], word]))
                raise RunError(f"--devices names GPU {number} twice: as {words}.")
            named[number] = word
    if not named:
        raise RunError(f"--devices names no GPU; {all_visible}.")

    _refuse_other_models(sorted(named), visible)
    _refuse_shared_cores(sorted(named), visible)
    return [visible[number] for number in sorted(named)]


def _numbers(word: str, visible: Sequence[Slot]) -> list[int]:
    """Return the numbers of the GPUs that a word of --devices names."""
    if word.isdecimal():
        return [int(word)] if int(word) < len(visible) else []

    uuid = word.lower()
    if uuid.startswith("gpu-"):  # the driver gives the digits alone
        uuid = uuid.removeprefix("gpu-").replace("-", "")
    same = [number for number, slot in enumerate(visible) if slot.uuid.lower() == uuid]
    return same or [n for n, slot in enumerate(visible) if word.lower() in slot.model.lower()]


def _hidden(word: str) -> str:
    """Return a sentence on why a GPU may be hidden; empty if there is no reason to think so."""
    if entries := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return f" CUDA_VISIBLE_DEVICES={entries} hides all others, and numbers count within it."
    if word.upper().startswith("MIG-"):
        return " A slice of a GPU (MIG) is visible if CUDA_VISIBLE_DEVICES names it."
    return ""


def _refuse_other_models(numbers: Sequence[int], visible: Sequence[Slot]) -> None:
    """Raise RunError if the GPUs are of several models."""
    if len(_by_model(numbers, visible)) > 1:
        raise RunError(
            f"--devices names GPUs of different models ({_listed(numbers, visible)}): their times "
            "would not compare. Measure each model in a run of its own: "
            f"{_runs(numbers, visible)}."
        )


def _refuse_shared_cores(numbers: Sequence[int], visible: Sequence[Slot]) -> None:
    """Raise RunError if two GPUs would have the same core, because there are too few cores."""
    users: dict[tuple[int, ...], int] = {}
    for number in numbers:
        other = users.setdefault(visible[number].cores, number)
        if other != number:
            raise RunError(
                f"--devices: GPUs {other} and {number} would share a core, which would disturb "
                f"their times: this process may use {units.count(len(usable_cores()), 'core')} "
                f"and sees {len(visible)} GPUs. Name fewer GPUs, hide those that you do not use by "
                "CUDA_VISIBLE_DEVICES, or grant more cores."
            )


def described(slots: Sequence[Slot], cells: Sequence[Cell]) -> str:
    """Return where cells are measured, ` on 4 GPUs, NVIDIA H200`; empty if on the CPU alone."""
    if not slots or not _need_gpus(cells):
        return ""
    cpu = "the CPU and " if any(cell.device == "cpu" for cell in cells) else ""
    return f" on {cpu}{units.count(len(slots), 'GPU')}, {slots[0].model}"


def left_out(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield sentences on the visible GPUs that a run without --devices does not use, and why.

    cells: those to measure. If none of them is measured on a GPU, nothing is yielded.
    """
    visible, used = visible_slots(), gpu_slots()
    if not used or not _need_gpus(cells):
        return

    unused = [number for number, slot in enumerate(visible) if slot not in used]
    if others := [n for n in unused if visible[n].model != used[0].model]:
        yield (
            f"Not measured on {_listed(others, visible)}: times of two models would not compare. "
            f"Measure each model in a run of its own: {_runs(others, visible)}."
        )
    if same := [n for n in unused if n not in others]:
        cores = units.count(len(usable_cores()), "core")
        yield (
            f"Not measured on {_listed(same, visible)}: this process may use {cores}, and each GPU "
            "needs one of its own. Grant more cores to use all GPUs."
        )


def _need_gpus(cells: Iterable[Cell]) -> bool:
    """Whether any of the cells is measured on a GPU."""
    return any(cell.device == "cuda" for cell in cells)


def _listed(numbers: Iterable[int], visible: Sequence[Slot]) -> str:
    """Return the numbers and models of GPUs: `0: NVIDIA H200, 1: NVIDIA H200`."""
    return ", ".join(f"{number}: {visible[number].model}" for number in numbers)


def _by_model(numbers: Iterable[int], visible: Sequence[Slot]) -> dict[str, list[int]]:
    """Return the numbers of GPUs, grouped by model."""
    groups: dict[str, list[int]] = {}
    for number in numbers:
        groups.setdefault(visible[number].model, []).append(number)
    return groups


def _runs(numbers: Iterable[int], visible: Sequence[Slot]) -> str:
    """Return the options of a run for each model: `--devices 0,2 and --devices 1, each with`..."""
    groups = _by_model(numbers, visible).values()
    options = " and ".join(f"--devices {','.join(map(str, group))}" for group in groups)
    return f"{options}, {'each ' if len(groups) > 1 else ''}with an --out of its own"
