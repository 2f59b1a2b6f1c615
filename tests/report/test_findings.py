"""The sentences with which a report begins say what the rows say."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.altered_runs import STANDARD, altered
from helpers.report_pages import write_page

from mssbench import results
from mssbench.report.drawn import drawn
from mssbench.report.findings import Finding, findings
from mssbench.results.run import Run


def found(run: Run) -> Iterator[Finding]:
    for group in findings(drawn([run]), {run.name: run}, [], ""):
        yield from (*group.first, *group.rest)


@pytest.fixture(scope="module")
def standard() -> Run:
    return results.open(STANDARD)


HARD = re.compile(
    r": on (.+), (none|only \d+) of (\d+) methods (is|are) ok at every size and batch\."
)


def hard_ones(run: Run) -> list[tuple[Finding, re.Match[str]]]:
    return [(f, match) for f in found(run) if (match := HARD.search(f.text))]


@pytest.mark.slow
def test_a_problem_that_is_hard_for_most_counts_the_methods_ok_at_every_size(
    standard: Run,
) -> None:
    table = drawn([standard])
    hard = hard_ones(standard)
    assert hard
    some_are_ok_at_one_size = 0
    for finding, match in hard:
        rows = table[table["computed_in"] == ""]
        for name in ("function", "precision", "device", "phase", "clock", "cache", "problem"):
            rows = rows[rows[name] == finding.filters[name]]
        rows = rows[rows["seconds_median"].notna() | rows["status"].isin(["crashed", "timeout"])]
        ok = (rows["ended"] == "ok").groupby(rows["label"])
        right = int(ok.all().sum())
        assert match[1] == rows["matrices"].iloc[0]
        assert match[2] == ("none" if right == 0 else f"only {right}")
        assert int(match[3]) == rows["label"].nunique()
        some_are_ok_at_one_size += int(ok.any().sum()) > right
    assert some_are_ok_at_one_size


@pytest.mark.slow
def test_the_map_of_failures_shows_the_methods_that_are_ok_at_every_size(
    tmp_path: Path, standard: Run, opened: Callable[..., Any]
) -> None:
    with opened(write_page([STANDARD], tmp_path / "page.html")) as tab:
        for finding, match in hard_ones(standard)[:3]:
            tab.page.get_by_label(f"Show the evidence: {finding.text}").evaluate("b => b.click()")
            tab.settle()
            heads = tab.heads("#failures-map")
            assert heads[1:] == [match[1]]
            counts = [line[1].split(" ")[0].split("/") for line in tab.cells("#failures-map")]
            right = sum(ok == measured for ok, measured in counts)
            assert match[2] == ("none" if right == 0 else f"only {right}")


@pytest.mark.slow
def test_rows_computed_in_another_precision_are_not_judged_whatever_their_status(
    tmp_path: Path,
) -> None:
    """NumPy computes in float64: it is neither ok nor wrong in the precision of the row."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        other = frame["computed_in"] != ""
        assert other.any()
        return frame.assign(status=frame["status"].mask(other, "inaccurate"))

    def judged(run: Run) -> list[str]:
        return [f.text for f in found(run) if " ok on " in f.text or ": on " in f.text]

    changed = results.open(altered(STANDARD, tmp_path / "cpu-2core-standard", change))
    assert judged(changed) == judged(results.open(STANDARD))


def test_a_method_has_one_name_in_all_findings(standard: Run) -> None:
    table = drawn([standard])
    text = " ".join(f.text for f in found(standard))
    full = {*table["label"]} - {*table["method"]}
    assert full
    assert not [name for name in full if name in text]
    assert "fastest" in text


def test_findings_count_batches_of_matrices(standard: Run) -> None:
    said = [f.text for f in found(standard) if " ok on all " in f.text]
    assert said
    assert all("batches of matrices" in text for text in said)
