"""What the report says about trainings in sentences: cautions, and what the differences tell."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mssbench.analysis import conclusions
from mssbench.analysis.training_sentences import NO_REFERENCE, unranked
from mssbench.analysis.trainings import LEAST_SEEDS, LEVEL, Group, Line, equal_starts
from mssbench.records import units
from mssbench.records.training import MOST_NONFINITE
from mssbench.results import parts

if TYPE_CHECKING:
    from mssbench.report.trainings.reading import Place, Shown, TrainingRun

_NAMED = 3  # methods that a sentence names before it counts the others


class Said(NamedTuple):
    """The sentences on one place."""

    number: int
    title: str
    sentences: tuple[str, ...]


def cautions(shown: "Shown", *, times: bool = True) -> Iterator[str]:
    """Yield what a reader has to know before reading any number. times: whether some are shown."""
    for name, run in shown.runs.items():
        before = f"{name}: " if len(shown.runs) > 1 else ""
        for sentence in _cautions(run, times=times):
            yield before + sentence


def _cautions(run: "TrainingRun", *, times: bool) -> Iterator[str]:
    if part := parts.sentence(run.facts):
        yield part
    ended = run.ended
    if not equal_starts(ended):
        yield (
            "The methods of a seed did not all start from the same weights and data, so that their "
            "differences mean nothing."
        )
    if missing := len(run.trainings) - len(ended):
        are = "is" if missing == 1 else "are"
        yield (
            f"The run was stopped: {missing} of {units.count(len(run.trainings), 'training')} "
            f"{are} missing from everything below but the table of all trainings. `mssbench train` "
            f"with the same suite and folder resumes {'it' if missing == 1 else 'them'}."
        )
    if machines := conclusions.several_machines(ended, run.facts):
        yield f"{machines[0]} {'; '.join(machines[1:])}."
    if times and len(ended) and ended["seconds"].isna().all() and ended["accuracy"].notna().any():
        yield "There are no times, because several networks were trained at the same time."


def summary(shown: "Shown") -> Iterator[Said]:
    """Yield what the differences of each place say."""
    for number, place in enumerate(shown.places):
        yield Said(number, place.title, tuple(_said(place)))


def _said(place: "Place") -> Iterator[str]:
    group = place.group
    sound = [line for line in group.lines if line.ok]
    if not sound:
        yield "No method trained without failure, so that nothing can be compared."
    elif not group.ranked:
        yield unranked(group.seeds)
    elif not group.reference:
        yield NO_REFERENCE
    else:
        yield from _compared(group)
    if group.few:
        of = f" in common with {group.reference}" if group.reference else ""
        named = [f"{line.method} has {line.shared}" for line in group.few]
        yield f"A method is ranked with {LEAST_SEEDS} seeds or more{of}: {_few(named)}."
    yield from _failed(group.lines)


def _compared(group: Group) -> Iterator[str]:
    """Yield a sentence for each difference that is resolved, and one for all others."""
    compared = [line for line in group.lines if line.difference is not None]
    open_ones = []
    for line in compared:
        d = line.difference
        assert d is not None
        if d.p >= LEVEL:
            open_ones.append(line.method)
            continue
        word, wins = ("better", d.wins) if d.mean > 0 else ("worse", d.seeds - d.wins)
        yield (
            f"{line.method} is {word} than {group.reference}, in {wins} of {d.seeds} seeds: its "
            f"accuracy differs by {d.mean:+.3f}, with the 95 % interval {d.low:+.3f} to "
            f"{d.high:+.3f} (p {d.p:.2g})."
        )
    if not compared and not group.few:
        yield f"No method was trained beside {group.reference}, so that there is no difference."
    elif compared and len(open_ones) == len(compared):
        yield f"No difference from {group.reference} is resolved by these {group.seeds} seeds."
    elif open_ones:
        yield (
            f"Not resolved by these {group.seeds} seeds is the difference of "
            f"{_few(open_ones)} from {group.reference}."
        )


def _failed(lines: Sequence[Line]) -> Iterator[str]:
    """Yield a sentence on each method of which a training did not end well."""
    for line in lines:
        if line.ok:
            continue
        statuses = " and ".join(line.statuses)
        failed = (
            f", because up to {100 * line.nonfinite:.0f} % of the steps of a training failed"
            if line.nonfinite >= MOST_NONFINITE  # false for NaN too
            else ""
        )
        yield f"{line.method} is {statuses}{failed}. It is not compared."


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
