"""Render the claims of a suite, sentences from papers, with their verdicts as a rich table."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from mssbench.analysis.claim_texts import lines
from mssbench.analysis.claims import ClaimResult, ClaimVerdict

STYLE = {ClaimVerdict.HOLDS: "green", ClaimVerdict.FAILS: "yellow", ClaimVerdict.UNMEASURED: "dim"}


def verdicts(found: Iterable[ClaimResult]) -> Table:
    """Return a table of claims with verdict, source, rule, and the worst comparisons."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")

    for finding in found:
        text = Text.assemble(
            (finding.claim.claim, "bold"), "\n", (finding.claim.source, "dim"), "\n"
        )
        text.append("".join(f"{line}\n" for line in lines(finding)))
        table.add_row(Text(finding.verdict, STYLE[finding.verdict]), text)
    return table
