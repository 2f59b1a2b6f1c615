"""Render the claims of a suite of trainings, with their verdicts, as a rich table."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mssbench.analysis.training_claims import TrainingClaimVerdict, TrainingVerdict

STYLE = {
    TrainingClaimVerdict.HOLDS: "green",
    TrainingClaimVerdict.FAILS: "yellow",
    TrainingClaimVerdict.OPEN: "",
    TrainingClaimVerdict.IMPOSSIBLE: "dim",
}


def verdicts(found: Sequence[TrainingVerdict]) -> Iterator[RenderableType]:
    """Yield a table of claims with verdict, source and what was found, and a sentence below it."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in found:
        text = Text.assemble(
            (each.claim, "bold"), "\n", (each.source, "dim"), "\n", each.found, "\n"
        )
        table.add_row(Text(each.verdict, STYLE[each.verdict]), text)
    yield table
    yield Text(
        "Differences are left - right, paired by seed, with 95 % t intervals. Each claim is judged "
        "at 95 % by itself: the claims are not adjusted for their number.",
        style="dim",
    )


def summary(found: Sequence[TrainingVerdict], folder: str) -> Text:
    """Return the line below the tables of `train`: how many claims hold, and where to read more."""
    holding = sum(each.verdict is TrainingClaimVerdict.HOLDS for each in found)
    text = f"{holding} of {len(found)} claims hold; see mssbench claims {folder}"
    if len(found) == 1:
        text = text.replace("claims hold", "claim holds", 1)
    return Text(text, no_wrap=True)
