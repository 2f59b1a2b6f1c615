"""Sentences at the end of a run: cells by status, use of time, noise, and remaining cells.

A cell is one combination of method, problem, size, batch, precision and so on.
"""

from rich.text import Text

from mssbench.console import statuses
from mssbench.records import units
from mssbench.records.measurement import ABSENT, MEASURED, Status
from mssbench.records.noise import DRIFTED, Noise
from mssbench.records.summary import Summary


def closing(summary: Summary) -> Text:
    """Return the closing line of a run: cells by status, use of time, drift, noise, and folder.

    Example: `102 cells: 78 ok, 24 not_installed · 41 s (samples 60 %, ...) · drift 2 %, 90 rows
    quiet, 6 noisy · results/quick`.
    """
    if not summary.statuses.total() and (summary.interrupted or summary.over):
        return _ended_at_once(summary)
    text = Text()
    if summary.interrupted:
        text.append("interrupted, what was measured is saved. ", "magenta")
    if summary.over:
        text.append("the time was over. ", "magenta")
    if not summary.statuses.total():
        return text + _idle(summary)

    text.append(f"{units.count(summary.statuses.total(), 'cell')}: ")
    text += statuses.status_words(summary.statuses)
    parts = [
        f"{activity} {100 * seconds / summary.seconds:.0f} %"
        for activity, seconds in [*summary.spent.most_common(), ("overhead", summary.own)]
        if seconds / summary.seconds >= 0.005  # smaller shares would be printed as 0 %
    ]
    text.append(f" · {units.duration(summary.seconds)}")
    text.append(f" ({', '.join(parts)})" if parts else "")

    if steady := _steadiness(summary):
        text.append(f" · {steady}")
    text.append(f" · {summary.path}")
    return text


def closing_of_shards(summary: Summary, shards: int) -> Text:
    """Return the closing line of a run whose shards were measured on a cluster and joined.

    Example: `102 cells: 78 ok, 24 not_installed · 8 shards · 4 min · results/quick`.
    """
    text = Text()
    if summary.interrupted and summary.statuses:
        text.append("interrupted, what was measured is saved. ", "magenta")
    if summary.over:
        text.append("the time was over. ", "magenta")
    if summary.statuses:
        text.append(f"{units.count(summary.statuses.total(), 'cell')}: ")
        text += statuses.status_words(summary.statuses)
    else:
        text.append("interrupted before a cell was measured", "magenta")
    text.append(f" · {units.count(shards, 'shard')} · {units.duration(summary.seconds)}")
    text.append(f" · {summary.path}")
    return text


def remaining(summary: Summary, command: str, longer: str) -> Text:
    """Return how much of an incomplete run is left, and the command that measures it.

    `Not complete: 12 of 66 cells are left. This goes on:`, then the command on a line of its own.
    longer: the command with more time, for a run whose time was over before its first cell was
    measured: the same one would end in the same way.
    """
    cells = units.count(summary.cells, "cell")
    parts = []
    if summary.left:
        parts.append(f"{summary.left} of {cells} {'is' if summary.left == 1 else 'are'} left")
    if summary.thin:
        was = "was" if summary.thin == 1 else "were"
        parts.append(f"{summary.thin} of {cells} {was} measured in fewer passes than planned")

    left = f"Not complete: {', and '.join(parts)}."
    if _was_too_short(summary):
        why = f"{left} The time was over before a cell was measured. This has more time:"
        return Text.assemble((why, "yellow"), f"\n    {longer}")
    return Text.assemble((f"{left} This goes on:", "yellow"), f"\n    {command}")


def _was_too_short(summary: Summary) -> bool:
    """Whether the time limit of a run ended it before it had measured any cell.

    Rows of earlier passes are in the counts too, so that the time spent on cells is looked at.
    """
    ended = set(+summary.statuses) - {Status.INTERRUPTED, *MEASURED}
    return summary.over and not ended and not summary.spent.total()


def left_over(summary: Summary) -> str:
    """Return a sentence on the rows in the run's folder whose cells the suite no longer has.

    An earlier run measured them. Call this only if there are any (`summary.left_over`).
    """
    cells = units.count(summary.left_over, "cell")
    return (
        f"{summary.path} also holds rows of {cells} that this suite does not have: an earlier run "
        "measured them. They stay in table.csv, but the commands leave them out; `mssbench show "
        "--left-over` shows them. --fresh measures everything again without them."
    )


def _ended_at_once(summary: Summary) -> Text:
    """Return the closing line of a run that a signal or its limit ended before it had any row."""
    how = "The run was interrupted" if summary.interrupted else "The time was over"
    left = summary.cells - summary.kept
    cells = f"{left} of {units.count(summary.cells, 'cell')} {'is' if left == 1 else 'are'} left"
    return Text.assemble(
        (f"{how} before a cell was measured", "magenta"), f": {cells} in {summary.path}"
    )


def _idle(summary: Summary) -> Text:
    """Return the closing line of a run that measured nothing, with the reason for that.

    Everything was measured before, or cannot be measured on this machine.
    """
    cells = units.count(summary.cells, "cell")
    standing, where = statuses.status_words(summary.standing), f" in {summary.path}"
    if not any(summary.standing[status] for status in MEASURED):
        remark = "" if set(+summary.standing) - ABSENT else ", none of which can be measured here"
        return Text(f"nothing was measured: {cells} (") + standing + Text(f"){where}{remark}")
    if set(+summary.standing) == {Status.OK}:
        return Text(f"nothing left to measure: {cells}{where}")
    return Text(f"nothing left to measure: {cells} (") + standing + Text(f"){where}")


def _steadiness(summary: Summary) -> str:
    """Return how steady the times are: `drift 2 %, 90 rows quiet, 6 noisy`.

    Drift is the change of the machine's own speed during the run.
    """
    parts = []
    if summary.drift is not None:
        much = " (the machine changed: compare times of this run with care)"
        parts.append(f"drift {100 * summary.drift:.0f} %{much if summary.drift > DRIFTED else ''}")

    counts = [(summary.noise[noise], noise) for noise in Noise if summary.noise[noise]]
    for i, (n, noise) in enumerate(counts):
        parts.append(f"{n} {noise}" if i else f"{units.count(n, 'row')} {noise}")
    return ", ".join(parts)
