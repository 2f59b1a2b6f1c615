"""The words of the page are explained on it, as docs/reading.md explains them."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from helpers.root import ROOT

from mssbench.analysis import kinds, pareto
from mssbench.records.measurement import Status
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, UNVERIFIED, Noise
from mssbench.report.words import WORDS

MEANINGS = {word: meaning for group in WORDS.values() for word, meaning in group.items()}
COLUMNS = {"time in products", "time ÷ limit"}


def values(words: type[StrEnum]) -> set[str]:
    return {str(word.value) for word in words}


@pytest.mark.parametrize(
    "words",
    [
        values(Status),
        {ABOVE_CEILING, OTHER_PRECISION, UNVERIFIED},
        kinds.ORDER,
        values(Noise),
        values(pareto.Standing) & {"front", "undecided", "beaten"},
        {"forward", "backward", "step", "wall", "gpu", "graph", "hot", "cold"},
        COLUMNS,
    ],
)
def test_every_word_has_a_meaning(words: Iterable[str]) -> None:
    assert not {*words} - {*MEANINGS}


def test_a_meaning_is_that_of_the_documentation() -> None:
    lines = (ROOT / "docs/reading.md").read_text(encoding="utf-8").replace("`", "").splitlines()
    for word, meaning in MEANINGS.items():
        if word not in COLUMNS:
            assert f"| {word} | {meaning} |" in lines


def test_the_page_explains_its_words(both: Path, opened: Callable[..., Any]) -> None:
    with opened(both) as tab:
        words = tab.page.locator("#words")
        assert not words.locator("dl").first.is_visible()
        words.get_by_text("Words on this page").click()
        assert words.locator("dl").first.is_visible()
        assert words.locator("dt").all_inner_texts() == [*MEANINGS]
        assert words.locator("dd").all_inner_texts() == [*MEANINGS.values()]
        seen = {row["ended"] for row in tab.rows()}
        assert seen
        assert not seen - {*MEANINGS}
        assert tab.page.locator("label:has(#filter-kind)").inner_text().startswith("kind of matrix")


def test_a_legend_has_its_title(both: Path, opened: Callable[..., Any]) -> None:
    with opened(both) as tab:
        tab.choose_all()
        titles = tab.page.locator(".legend:not(:empty)").evaluate_all(
            "all => all.map((list) => getComputedStyle(list, '::before').content)"
        )
        assert any("limited by" in title for title in titles)
        assert all(title.strip('" :') for title in titles)
