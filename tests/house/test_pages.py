"""The pages of docs/: links, anchors, the site's navigation, and parts that come from the code."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from helpers.root import ROOT

import mssbench
from mssbench.methods.norms import NORMS
from mssbench.suite import suite

DOCS = sorted((ROOT / "docs").glob("*.md"))
OTHERS = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
PAGES = [pytest.param(path, id=path.name) for path in (*DOCS, *OTHERS)]
PAGES_OF_THE_SITE = [pytest.param(path, id=path.name) for path in DOCS]
LONGEST = 120  # characters of a line


def load_pages() -> ModuleType:
    """The script `.ci/pages` as a module, with the modules beside it."""
    folder = ROOT / ".ci" / "pages"
    for name in ("of_code", "of_runs", "of_trainings", "pages"):
        if name not in sys.modules:
            path = folder / ("__main__.py" if name == "pages" else f"{name}.py")
            spec = importlib.util.spec_from_file_location(name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
    return sys.modules["pages"]


PARTS = load_pages().PARTS


def prose(text: str) -> str:
    """A page without its blocks of code, in which nothing is a link or a heading."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.S | re.M)


def slug(heading: str) -> str:
    """The anchor of a heading, on the site and on GitHub alike."""
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@cache
def anchors(path: Path) -> list[str]:
    return [slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(path.read_text()), re.M)]


def links(path: Path) -> list[str]:
    """Where the links and pictures of a page lead, those to other hosts left out."""
    text = re.sub(r"(`+).+?\1", "", prose(path.read_text()), flags=re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert "](" not in re.sub(r"\]\(([^)\s]+)\)", "", text), "a link is not understood"
    return [target for target in targets if not target.startswith(("http:", "https:"))]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(path), f"{page.name} links to {target}: there is no heading"


@pytest.mark.parametrize("page", PAGES_OF_THE_SITE)
def test_a_page_of_the_site_links_to_pages_of_the_site_alone(page: Path) -> None:
    outside = [
        target
        for target in links(page)
        if ("/" in target and not target.startswith("figures/")) or target.startswith(".")
    ]
    assert not outside, outside


@pytest.mark.parametrize("page", PAGES_OF_THE_SITE)
def test_a_heading_has_one_anchor_which_the_site_and_github_make_alike(page: Path) -> None:
    found = anchors(page)
    assert len({*found}) == len(found), [x for x in found if found.count(x) > 1]
    assert all(anchor.isascii() for anchor in found), found


def test_links_to_most_pages_and_to_anchors_are_checked() -> None:
    """So that the tests above cannot pass because they find nothing."""
    every = [target for page in (*DOCS, *OTHERS) for target in links(page)]
    assert len(every) > 150
    assert sum("#" in target for target in every) > 50


def site() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def in_navigation(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in in_navigation(part)]


def test_the_navigation_has_every_page_once() -> None:
    assert sorted(in_navigation(site()["nav"])) == [path.name for path in DOCS]


def test_the_home_page_and_the_readme_lead_to_every_page() -> None:
    every = {path.name for path in DOCS} - {"index.md", "changelog.md"}
    home = {target.partition("#")[0] for target in links(ROOT / "docs" / "index.md")}
    assert not every - home
    readme = {Path(target.partition("#")[0]).name for target in links(ROOT / "README.md")}
    assert not every - readme


def test_the_site_fetches_nothing_from_elsewhere() -> None:
    settings = site()
    assert settings["theme"]["font"] is False
    assert not {"extra_javascript", "repo_url", "site_url"} & set(settings)
    assert "offline" not in settings["plugins"], "its polyfill is a script of another host"
    for path in (ROOT / "mkdocs.yml", *(ROOT / "docs").glob("*.css"), *DOCS):
        assert not re.search(r"https?://|url\(", path.read_text()), path.name


@pytest.mark.parametrize("page", PAGES_OF_THE_SITE)
def test_a_line_of_a_page_is_not_too_long(page: Path) -> None:
    lines = prose(page.read_text()).splitlines()
    long = [line for line in lines if len(line) > LONGEST and not line.startswith("|")]
    assert not long, long


# Parts that come from the code and from committed runs.


@pytest.mark.slow
def test_generated_parts_are_as_the_code_and_the_runs_are_now(tmp_path: Path) -> None:
    """In a process of its own, which has no methods of other tests, and in another folder."""
    command = [sys.executable, ROOT / ".ci" / "pages", "--check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_part_that_is_written_stands_on_one_page_and_is_closed() -> None:
    named = [name for page in DOCS for name in load_pages().names(page.read_text())]
    assert sorted(named) == sorted(PARTS)
    opened = [
        n for p in DOCS for n in re.findall(r"^<!-- generated: (.*) -->$", p.read_text(), re.M)
    ]
    assert sorted(opened) == sorted(named)


def test_a_page_that_is_out_of_date_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = load_pages()
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "table.md"
    page.write_text("<!-- generated: columns -->\nold\n<!-- end of columns -->\n")
    assert pages.main(check=True) == 1
    assert capsys.readouterr().out == "docs/table.md differs: run python .ci/pages\n"
    assert "\nold\n" in page.read_text()
    assert pages.main(check=False) == 0
    assert "\nold\n" not in page.read_text()
    assert pages.main(check=True) == 0


def test_the_page_on_methods_explains_every_norm() -> None:
    text = (ROOT / "docs" / "methods.md").read_text()
    explained = text.partition("<!-- norms: ")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", explained, re.M)[1:]) == sorted(NORMS)


def test_the_page_on_python_leads_to_every_public_name() -> None:
    listed = re.findall(r"\[`(\w+)`\]\(#\w+\)", (ROOT / "docs" / "api.md").read_text())
    assert sorted(listed) == sorted(set(mssbench.__all__) - {"__version__"})


def test_the_page_on_suites_has_a_suite_that_is_right(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "suites.md").read_text().partition("## A small suite")[2]
    path = tmp_path / "mine.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    assert len(suite.load(path, auto="cpu").cells) > 20
