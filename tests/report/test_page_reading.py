"""The page can be read by keyboard, screen reader, on paper, on a phone and without scripts."""

import io
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.report_pages import Tab

from mssbench.report.figures.maps import COLOURS

# One page of each kind is tested by default, in test_page_safety, _numbers and _filters.
# Kinds of which other files test a case in every run of CI.
pytestmark = pytest.mark.exhaustive

NARROW = {"width": 390, "height": 844}


def test_headings_are_in_order_and_sections_are_named(
    both: Path, opened: Callable[..., Any]
) -> None:
    with opened(both) as tab:
        levels = tab.page.locator("h1, h2, h3, h4, h5, h6").evaluate_all(
            "all => all.filter((h) => h.checkVisibility()).map((h) => Number(h.tagName[1]))"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))
        unnamed = tab.page.locator("section").evaluate_all(
            """all => all.filter((s) => {
                 const title = document.getElementById(s.getAttribute('aria-labelledby'));
                 return !title?.textContent;
               }).length"""
        )
        assert unnamed == 0
        assert tab.page.locator("html").get_attribute("lang") == "en"
        ids = tab.page.locator("[id]").evaluate_all("all => all.map((e) => e.id)")
        assert len(ids) == len(set(ids))


def test_controls_tables_and_figures_have_names_and_roles(
    both: Path, opened: Callable[..., Any]
) -> None:
    with opened(both) as tab:
        tab.snapshot()
        page = tab.page
        nameless = page.locator("select, input, button").evaluate_all(
            """all => all.filter((c) => c.checkVisibility()).filter((c) => {
                 const label = c.labels?.[0]?.textContent ?? c.getAttribute('aria-label');
                 return !(label ?? c.textContent).trim();
               }).map((c) => c.outerHTML)"""
        )
        assert nameless == []
        # Each button of a finding says of which sentence it shows the evidence.
        names = page.locator("button[data-filters]").evaluate_all(
            "all => all.map((b) => b.getAttribute('aria-label'))"
        )
        assert all(len(name) > 40 for name in names)
        assert page.locator("#count[aria-live], #found[aria-live]").count() == 2

        tables = page.locator("table:visible").all()
        assert len(tables) >= 3
        for table in tables:
            heads = table.locator("thead th").all()
            assert heads
            assert all(head.get_attribute("scope") == "col" for head in heads)
        for table in page.locator("table.map").all():
            rows = table.locator("tbody tr").count()
            assert table.locator("tbody th[scope=row]").count() == rows
            assert table.locator("caption").count() == 1
        for region in page.locator("[role=region]").all():
            assert region.get_attribute("tabindex") == "0"
            assert region.get_attribute("aria-label")

        figures = page.locator(".plot svg").evaluate_all(
            """all => all.map((svg) => [svg.getAttribute('role'), svg.getAttribute('aria-label'),
                 svg.querySelectorAll('[role], [aria-label], [aria-roledescription]').length])"""
        )
        assert len(figures) > 20
        for role, label, inner in figures:
            assert (role, inner) == ("img", 0)
            assert re.search(r"^[A-Z].*: \d+ rows?, which the table .* has too$", label)
        labels = [label for _, label, _ in figures]
        assert len(set(labels)) > len(labels) // 2
        assert page.locator(".legend svg:not([aria-hidden=true])").count() == 0


def test_every_control_is_reached_by_tab_in_the_order_of_the_page(
    quick: Path, opened: Callable[..., Any]
) -> None:
    with opened(quick) as tab:
        tab.page.evaluate(
            """() => {
              const able = 'a[href], button, select, input, summary, [tabindex="0"]';
              window.wanted = [...document.querySelectorAll(able)].filter((e) => e.checkVisibility()
                && !e.disabled);
              window.seen = [];
            }"""
        )
        count = tab.page.evaluate("wanted.length")
        assert count > 40
        for _ in range(count):
            tab.page.keyboard.press("Tab")
            tab.page.evaluate(
                """() => {
                  const e = document.activeElement;
                  const style = getComputedStyle(e);
                  const width = parseFloat(style.outlineWidth);
                  const outlined = style.outlineStyle !== 'none' && width >= 1;
                  seen.push({ place: wanted.indexOf(e), outlined, html: e.outerHTML.slice(0, 80) });
                }"""
            )
        seen = tab.page.evaluate("seen")
        assert [s["place"] for s in seen] == list(range(count))
        assert [s["html"] for s in seen if not s["outlined"]] == []


def test_the_keyboard_alone_is_enough(quick: Path, opened: Callable[..., Any]) -> None:
    with opened(quick) as tab:
        page = tab.page
        page.keyboard.press("Tab")
        skip = page.locator("a.skip")
        assert skip.evaluate("a => a === document.activeElement")
        assert skip.bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        assert (
            page.evaluate("document.querySelector('#failures').getBoundingClientRect().top") < 400
        )

        page.locator("#filter-phase").focus()
        page.keyboard.type("forward")
        page.keyboard.press("Enter")
        tab.settle()
        assert {row["phase"] for row in tab.rows()} == {"forward"}

        page.locator("#head th[data-column=size] button").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Space")
        assert page.locator("th[aria-sort=descending]").get_attribute("data-column") == "size"

        page.locator("button[data-filters]").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("h2:focus")
        summary = page.locator("#findings summary").first
        summary.focus()
        page.keyboard.press("Enter")
        assert page.locator("#findings details").first.get_attribute("open") is not None


# Contrast by the formula of WCAG 2.2.
CONTRAST = """(() => {
  const parts = (colour) => {
    const numbers = colour.match(/[\\d.]+/g).map(Number);
    return [...numbers.slice(0, 3), numbers[3] ?? 1];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  window.contrast = (element) => {
    const below = ground(element);
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(over(parts(colour), below)), light(below)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_texts_stand_out_from_their_ground(
    quick: Path, opened: Callable[..., Any], scheme: str
) -> None:
    with opened(quick, color_scheme=scheme) as tab:
        tab.snapshot()
        tab.page.evaluate(CONTRAST)
        # One cell of each colour, whatever statuses occur.
        looks = sorted(COLOURS)
        tab.page.evaluate(
            """(looks) => document.querySelector('#failures-map tbody tr').append(
                 ...looks.map((look) => Object.assign(document.createElement('td'),
                   { className: look, textContent: look })))""",
            looks,
        )
        measured = tab.page.evaluate(
            """() => {
              const found = {};
              const all = document.querySelectorAll('body *');
              for (const e of all) {
                const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
                const text = own && !['SCRIPT', 'STYLE', 'OPTION'].includes(e.tagName);
                if (!text || !e.checkVisibility()) continue;
                const ratio = contrast(e);
                const key = `${e.tagName}.${e.getAttribute('class') ?? ''}`;
                if (!(found[key] <= ratio)) found[key] = ratio;
              }
              return found;
            }"""
        )
        assert {f"TD.{look}" for look in looks} <= measured.keys()
        assert {"text.", "H1.", "P.about", "BUTTON.link", "BUTTON.sort"} <= measured.keys()
        assert {key: ratio for key, ratio in measured.items() if ratio < 4.5} == {}


def test_the_maps_do_not_depend_on_colours(both: Path, opened: Callable[..., Any]) -> None:
    """Cells of different colours have different words."""
    with opened(both) as tab:
        tab.choose(phase="", precision="", batch="")
        cells = tab.page.locator("#failures-map td").evaluate_all(
            "all => all.map((td) => [td.className, td.textContent])"
        )
        words: dict[str, set[str]] = {}
        for look, text in cells:
            words.setdefault(look, set()).add(re.sub(r"^[\d/]+ ?", "", text))
        assert words["ok"] == {""}
        assert words["inaccurate"] == {"inaccurate"}
        assert words["nonfinite"] == {"nonfinite"}
        assert "" not in words["unranked"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("deficiency", ["deuteranopia", "protanopia", "achromatopsia"])
def test_the_page_works_for_the_colour_blind(
    both: Path, opened: Callable[..., Any], deficiency: str
) -> None:
    """The four commonest colours of cells differ for readers who see fewer colours."""
    from PIL import Image

    with opened(both) as tab:
        session = tab.page.context.new_cdp_session(tab.page)
        session.send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})
        colours = {}
        for look in ("ok", "inaccurate", "diverged", "nonfinite"):
            cell = tab.page.locator(f"#failures-map td.{look}").first
            cell.scroll_into_view_if_needed()
            picture = Image.open(io.BytesIO(cell.screenshot())).convert("RGB")
            colours[look] = picture.getpixel((3, 3))
        assert len(set(colours.values())) == 4, colours


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_a_print_has_all_panels_although_none_was_seen(
    quick: Path, opened: Callable[..., Any]
) -> None:
    with opened(quick) as tab:
        seen = tab.page.locator(".plot svg").count()
        panels = tab.page.locator(".plot").count()
        assert panels > seen
        pdf = tab.page.pdf(format="A4")
        assert pages_of(pdf) >= 3
        assert tab.page.locator(".plot svg").count() == panels
        assert tab.page.locator("#body tr").count() > 20


def test_a_print_hides_controls_and_is_light(both: Path, opened: Callable[..., Any]) -> None:
    with opened(both, color_scheme="dark") as tab:
        tab.page.emulate_media(media="print")
        for control in ("#filters", "#more", "#download", "button.link"):
            assert tab.page.locator(control).first.is_hidden(), control
        assert tab.page.locator("#head th button").first.is_visible()  # the titles of columns
        ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        # What the filters chose is on paper, though the filters are not.
        assert "310 of 4212 rows" in tab.page.locator("#chosen").inner_text()
        assert "float32" in tab.page.locator("#chosen").inner_text()


def overflowing(tab: Tab) -> list[str]:
    """Elements that reach beyond the window, unless an element around them scrolls."""
    found: list[str] = tab.page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter((e) => {
          if (!e.checkVisibility() || e.closest('.scroll, .panel, pre, .skip')) return false;
          return e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
        }).map((e) => e.outerHTML.slice(0, 100))"""
    )
    return found


@pytest.mark.sampled(2)
@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_no_width_makes_the_page_scroll_sideways(
    both: Path, opened: Callable[..., Any], width: int
) -> None:
    with opened(both, viewport={"width": width, "height": 844}) as tab:
        tab.snapshot()
        assert overflowing(tab) == []
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        # A figure with two axes fits on a phone.
        if width >= 390:
            inner = tab.page.locator("#front .panel").first.evaluate(
                "p => p.scrollWidth - p.clientWidth"
            )
            assert inner <= 0


def test_findings_can_be_read_without_scripts(both: Path, opened: Callable[..., Any]) -> None:
    with opened(both, java_script_enabled=False) as tab:
        page = tab.page
        assert "need JavaScript" in page.locator("noscript").inner_text()
        assert page.locator("#findings li:visible").count() > 8
        assert page.locator("#environment").inner_text().count("AMD EPYC") >= 2
        assert page.locator("button[data-filters]:visible").count() == 0
        assert page.locator("#search:visible, #download:visible, #more:visible").count() == 0


@pytest.mark.parametrize("name", ["both", "claims"])
def test_a_claim_is_readable(
    name: str, claims: Path, both: Path, opened: Callable[..., Any]
) -> None:
    with opened(claims if name == "claims" else both) as tab:
        items = tab.page.locator("#claims li").all_inner_texts()
        if name == "both":
            assert not items
            assert "make no claims" in tab.page.locator("#claims").inner_text()
        else:
            assert len(items) > 3
            assert all(re.match(r"(holds|fails|open|unknown|untested|\w+)", item) for item in items)
            sentence = tab.page.locator("#findings li").first.inner_text()
            assert "15 claims of papers: " in sentence
            for verdict, words in (("holds", "hold"), ("does not hold here", "do not hold here")):
                n = sum(item.startswith(verdict) for item in items)
                assert n > 1
                assert f"{n} {words}" in sentence
