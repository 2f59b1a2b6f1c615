"""The page runs no script but its own, asks the network for nothing, and shows names as text."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.altered_runs import CLAIMS, QUICK, altered
from helpers.report_pages import write_page
from helpers.tables import called

from mssbench.report.html import library
from mssbench.report.packing import script_json

# Each would set `pwned`, fetch something or spoil the page if it were taken for markup, for code,
# for a template or for the end of a script.
HOSTILE = (
    "<script>pwned=1</script>",
    "</script><script>pwned=2</script>",
    "<img src=x onerror=pwned=3>",
    "<img src=https://example.org/x.png>",
    "{{ 7*7 }}{% raw %}@@DATA@@${7*7}",
    "a\u2028b\u2029c",
    "\"'`><svg onload=pwned=4>",
    "<!--<script>",
    "]]>&lt;b&gt;&amp;",
    "javascript:pwned=5",
    "__proto__",
    "constructor",
    "e\u0301\u202egnp",
    "x" * 2000,
    "'quoted', \"twice\" \\ \\u003c",
)


def hostile(frame: pd.DataFrame) -> pd.DataFrame:
    """A table in which methods, problems, reasons and flags have hostile names."""
    methods = sorted(frame["forward"].unique())
    forwards = {name: HOSTILE[i % len(HOSTILE)] for i, name in enumerate(methods)}
    problems = sorted(frame["problem"].unique())
    named = {name: f"{HOSTILE[-1 - i]}{name}" for i, name in enumerate(problems)}
    reasons = [HOSTILE[i % len(HOSTILE)] for i in range(len(frame))]
    return frame.assign(
        forward=frame["forward"].map(forwards),
        problem=frame["problem"].map(named),
        reason=reasons,
        device=HOSTILE[0],
        options=[f"norm={HOSTILE[2]}" if i % 2 else "" for i in range(len(frame))],
        status=frame["status"].mask(frame.index % 7 == 3, "crashed"),
    )


def hostile_facts(facts: dict[str, Any]) -> None:
    for i, machine in enumerate(facts["environments"].values()):
        machine["cpu"] = HOSTILE[i] + "\ud800"
        machine["commit"] = HOSTILE[1]
        machine["versions"]["torch"] = HOSTILE[2]
        machine[HOSTILE[7]] = HOSTILE[7]
    for run in facts["runs"].values():
        run["suite"] = HOSTILE[4]
        run["started"] = HOSTILE[1]


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    runs = [
        altered(QUICK, folder / "<img src=x onerror=pwned=6>", hostile, hostile_facts),
        altered(CLAIMS, folder / "{{ 7*7 }} '\"><svg onload=pwned=7>"),
        # a name that is not valid UTF-8, as files on Linux may have
        altered(QUICK, folder / "\udcff&amp;<b>"),
    ]
    suite = runs[1] / "suite.toml"
    sentence = json.dumps("".join(HOSTILE[:5]))
    text, changed = re.subn(r"(?m)^claim = .*$", lambda _: f"claim = {sentence}", suite.read_text())
    assert changed > 3
    suite.write_text(text)
    return write_page(runs, folder / "page.html", title=HOSTILE[1])


def test_hostile_names_stay_text_everywhere(hostile_page: Path, opened: Callable[..., Any]) -> None:
    with opened(hostile_page) as tab:
        tab.choose_all()
        drawn = tab.snapshot()
        page = tab.page
        assert page.evaluate("typeof pwned") == "undefined"
        assert page.title() == HOSTILE[1]
        assert page.locator("h1").inner_text() == HOSTILE[1]
        assert page.locator("script").count() == 3
        for element in ("img", "b", "object", "embed", "iframe", "link", "svg[onload]"):
            assert page.locator(element).count() == 0, element
        assert (
            page.evaluate(
                "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes])"
                ".filter((a) => a.name.startsWith('on') || a.value.startsWith('javascript:')"
                " && !['title', 'value', 'aria-label'].includes(a.name)).length"
            )
            == 0
        )

        # All names are there, letter by letter: in the table, the filters, the figures, the texts.
        tab.show_all_rows()
        rows = tab.rows()
        shown = {row["reason"] for row in rows}
        assert set(HOSTILE) <= shown
        assert any("</script><script>pwned=2</script>" in row["label"] for row in rows)
        run_names = tab.options("run")
        assert "<img src=x onerror=pwned=6>" in run_names
        assert "{{ 7*7 }} '\"><svg onload=pwned=7>" in run_names
        assert "&lt;script&gt;pwned=1" in drawn["front"] + drawn["failures"]
        text = page.locator("body").text_content()
        for name in ("{{ 7*7 }}{% raw %}@@DATA@@${7*7}", "<!--<script>", "".join(HOSTILE[:5])):
            assert name in text
        assert "\ufffd" not in page.locator("#environment").inner_text()


@pytest.mark.slow
def test_any_name_survives_the_filters_and_the_address(
    hostile_page: Path, opened: Callable[..., Any]
) -> None:
    with opened(hostile_page) as tab:
        for name, number in (("problem", -1), ("run", 2), ("run", 3), ("device", 1)):
            value = tab.options(name)[number]
            tab.choose_all()
            tab.choose(**{name: value})
            rows = tab.rows()
            assert rows
            assert {row[name] for row in rows} == {value}
        wanted = tab.filters()
        with opened(hostile_page, "#" + tab.page.url.partition("#")[2]) as other:
            assert other.filters() == wanted
            assert other.rows() == rows


def test_the_policy_is_in_force(both: Path, opened: Callable[..., Any]) -> None:
    with opened(both) as tab:
        policy = tab.page.locator("meta[http-equiv=Content-Security-Policy]")
        words = policy.get_attribute("content")
        assert words is not None
        assert words.startswith("default-src 'none'; script-src 'sha256-")
        for forbidden in ("unsafe-eval", "*", "http", "unsafe-hashes", "data: '"):
            assert forbidden not in words
        assert "'unsafe-inline'" not in words.partition("style-src")[0]

        # Whatever would be injected does not run, and is not fetched.
        refused: list[str | None] = []
        tab.page.on("requestfailed", lambda request: refused.append(request.failure))
        answered: list[str] = []
        tab.page.on("response", lambda response: answered.append(response.url))
        tab.page.evaluate(
            """async () => {
              const script = document.createElement('script');
              script.textContent = 'window.pwned = 1';
              document.body.append(script);
              const remote = document.createElement('script');
              remote.src = 'https://example.org/x.js';
              document.body.append(remote);
              const box = document.createElement('div');
              box.innerHTML = '<img src="https://example.org/x.png" onerror="window.pwned = 2">'
                + '<button id="trap" onclick="window.pwned = 3">x</button>'
                + '<iframe src="https://example.org/"></iframe>';
              document.body.append(box);
              document.getElementById('trap').click();
              try { await fetch('https://example.org/'); } catch { /* refused */ }
              setTimeout('window.pwned = 4');
              await new Promise((done) => setTimeout(done, 200));
            }"""
        )
        assert tab.page.evaluate("typeof window.pwned") == "undefined"
        assert sum("Content Security Policy" in text for text in tab.told) >= 6
        assert set(refused) == {"csp"}
        assert not answered
        tab.told.clear()


@pytest.mark.slow
def test_nothing_is_said_to_the_console_and_asked_of_the_network(
    both: Path, opened: Callable[..., Any]
) -> None:
    """`opened` fails the test for any of these; here the page is used in every way."""
    with opened(both) as tab:
        for name in tab.filters():
            for value in tab.options(name)[:3]:
                tab.choose(**{name: value})
        tab.page.click("#reset")
        tab.snapshot()
        tab.page.locator("#front .mark-symbol path").first.hover(force=True)
        assert tab.page.locator("#vg-tooltip-element.visible").inner_text().startswith("method")
        tab.downloaded()
        tab.page.pdf()
        tab.page.fill("#search", "eigh [.*")
        tab.page.wait_for_timeout(200)
        tab.page.click("#reset")
        for details in tab.page.locator("details > summary").all():
            details.click()
        tab.settle()


def test_the_page_names_no_address_that_a_browser_would_fetch(both: Path) -> None:
    text = both.read_text()
    markup = text.replace(library(), "")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", markup)
    assert not re.findall(r"url\(|@import", markup)


def test_data_cannot_end_its_script() -> None:
    text = script_json({"a": [*HOSTILE, "\ud800"]})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text)["a"][:-1] == list(HOSTILE)
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json([float("nan")])


def test_a_report_on_hostile_runs_is_written_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = altered(QUICK, tmp_path / "<b>&\udcffrun", hostile, hostile_facts)
    code, _, err = called(capsys, "report", run, "-o", tmp_path / "report.html", "--title", "<i>")
    assert code == 0, err
    assert "<title>&lt;i&gt;</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")
