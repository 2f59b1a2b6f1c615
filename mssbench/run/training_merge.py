"""Join folders of trainings, such as the shards of a suite, into the folder of one run.

Nothing is trained, and torch is not imported.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mssbench.errors import RunError
from mssbench.records import units
from mssbench.records.facts import difference
from mssbench.records.training import TrainingCell
from mssbench.results import merge, parts, trainings
from mssbench.results.facts_file import facts_or_fault
from mssbench.results.files import replace, replacing
from mssbench.results.parts import Part
from mssbench.results.rows import SUITE
from mssbench.run import training_folder as folders
from mssbench.suite.training import TrainingSuite, load


class Joined(NamedTuple):
    """What was joined, and what is missing."""

    trainings: int  # of the suite
    remarks: list[str]  # sentences on damaged files, and on several machines
    # The trainings without a result, by shard, such as `2/4`; by "" if no run is a shard.
    missing: dict[str, list[TrainingCell]]


class _Source(NamedTuple):
    """A folder that is joined."""

    folder: Path
    suite: TrainingSuite
    machines: Mapping[str, Any]
    part: Part | None
    fault: str  # why the facts cannot be read, or empty
    captured: Mapping[str, list[Path]]  # files of covariances by cell_id


def join(runs: Sequence[Path], out: Path) -> Joined:
    """Join runs of trainings of one suite into the folder `out`, as if one run had trained them.

    A training may be in several runs. The first of them that trained it to its end is taken, or
    else the first that has a result. The state of a training that has not ended is copied, so that
    `mssbench train` goes on from it in `out`.

    Raises RunError if `out` is not empty, if a folder has no results, or if the runs do not belong
    together, and SuiteError for a suite that cannot be read.
    """
    merge.refuse_used(out)
    sources = [_source(trainings.folder_of(run)) for run in runs]
    part = _joined_part(sources)
    suite = sources[0].suite

    folders.make_folder(out)
    with folders.locked(out):
        (out / folders.CELLS).mkdir()
        replace(out / SUITE, (sources[0].folder / SUITE).read_bytes())
        machines = {k: facts for source in sources for k, facts in source.machines.items()}
        folders.write_facts(out, machines)
        results = {cell.cell_id: _take(cell, sources, out) for cell in suite.cells}
        folders.write_tables(out, suite.cells, results)

    remarks = [f"left out: {source.fault}" for source in sources if source.fault]
    remarks += _several_machines(results, machines)
    return Joined(len(suite.cells), remarks, dict(_missing(suite, part, results)))


def _source(folder: Path) -> _Source:
    """Return what a folder has. Raises RunError if it has no results."""
    if not (folder / folders.CELLS).is_dir():
        raise RunError(
            f"{folder} has no results in {folders.CELLS}/, from which the tables of a joined run "
            "are written. Merge the folder into which `mssbench train` has trained."
        )
    suite = load(str(folder / SUITE))
    facts, fault = facts_or_fault(folder)
    part = parts.part_of(facts)
    if part is not None and part.digest != suite.digest:
        raise RunError(
            f"{folder / SUITE} is not the suite of which {folder} has {part.name}: it was changed, "
            "or read otherwise by another version of mssbench. Train the shard again with the same "
            "suite; what is trained already is kept."
        )
    return _Source(folder, suite, facts["environments"], part, fault, folders.captured(folder))


def _joined_part(sources: Sequence[_Source]) -> Part | None:
    """Return which part of the suite the shards among the runs have together; None without any.

    Raises RunError if the runs do not belong together.
    """
    first = sources[0]
    for other in sources[1:]:
        if other.suite.digest != first.suite.digest:
            one, two = (
                f"{source.folder} has {source.suite.name!r}, with "
                f"{units.count(len(source.suite.cells), 'training')}"
                for source in (first, other)
            )
            raise RunError(
                f"{one}, and {two}: their suites, or probes and robustness in them, are not the "
                "same. Merge folders of one suite."
            )
    return parts.joined({s.folder: s.part for s in sources if s.part is not None})


def _take(cell: TrainingCell, sources: Sequence[_Source], out: Path) -> dict[str, Any] | None:
    """Copy the files of one training into the folder `out`, and return its result, if any."""
    found = [(source, folders.result(source.folder, cell)) for source in sources]
    # The order of the runs is kept among those that are equally good.
    found.sort(key=lambda each: (not folders.is_trained(each[1]), each[1] is None))
    result = found[0][1]
    ordered = [source for source, _ in found]

    if result is not None:
        replace(folders.result_file(out, cell), json.dumps(result).encode())
    if not folders.is_trained(result):
        target = folders.checkpoint(out, cell)
        any(_copied(folders.checkpoint(source.folder, cell), target) for source in ordered)
    for file in next((s.captured[cell.cell_id] for s in ordered if cell.cell_id in s.captured), ()):
        (out / folders.CAPTURED).mkdir(exist_ok=True)
        _copied(file, out / folders.CAPTURED / file.name)
    return result


def _copied(file: Path, target: Path) -> bool:
    """Copy a file, and return whether it is there."""
    try:
        with replacing(target) as temporary:
            shutil.copyfile(file, temporary)
    except FileNotFoundError:
        return False
    return True


def _several_machines(
    results: Mapping[str, Mapping[str, Any] | None], machines: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a sentence if the networks were trained on several machines."""
    every = [result.get("environment") for result in results.values() if result is not None]
    hashes = [*dict.fromkeys(filter(None, every))]
    if len(hashes) > 1:
        apart = difference(*(machines.get(environment) for environment in hashes[:2]))
        yield (
            f"These trainings are of {len(hashes)} environments ({apart}): their times cannot be "
            "compared."
        )


def _missing(
    suite: TrainingSuite, part: Part | None, results: Mapping[str, Any]
) -> Iterator[tuple[str, list[TrainingCell]]]:
    """Yield each shard of which trainings have no result, with these trainings."""
    for each in [suite] if part is None else suite.in_shards(part.of):
        if without := [cell for cell in each.cells if results[cell.cell_id] is None]:
            yield str(each.shard or ""), without
