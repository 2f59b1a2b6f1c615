"""The report in a browser: pages are written, opened, and what they show is read back."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench import results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

# Numbers that Vega gives to clips and gradients differ from drawing to drawing.
_SNAPSHOT = r"""async () => {
  await report.complete();
  await report.drawAll();
  const html = (id) => document.getElementById(id).innerHTML;
  const svg = ({ plot }) =>
    plot.querySelector('svg').outerHTML.replace(/(clip|gradient)\d+/g, '$1');
  const figures = report.figures.map((figure) => [
    figure.name,
    figure.panels.map((panel) => panel.heading.textContent + svg(panel)).join('')
      + figure.legend.innerHTML + figure.note.textContent + figure.more.hidden,
  ]);
  return {
    ...Object.fromEntries(figures),
    count: html('count'), failures: html('failures-map'), winners: html('winners-map'),
    compared: html('compared'), steps: html('steps'), table: html('body'), found: html('found'),
  };
}"""


def write_page(runs: Sequence[Path], file: Path, title: str = "") -> Path:
    """Write the report on some runs to a file, as `mssbench report` does."""
    from mssbench.report.page import page

    file.write_text(page([results.open(run) for run in runs], title), encoding="utf-8")
    return file


@dataclass
class Tab:
    """An open report.

    page: of playwright. told: what it has said to the console, asked of the network, or thrown; it
    must be empty in the end.
    """

    page: "Page"
    told: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until all parts are drawn. Panels of figures are drawn only when they are seen."""
        self.page.evaluate("report.complete()")

    def choose(self, **filters: str) -> None:
        """Choose values of filters, as a reader does."""
        for name, value in filters.items():
            self.page.select_option(f"#filter-{name}", value)
        self.settle()

    def choose_all(self) -> None:
        """Choose all rows."""
        self.choose(**dict.fromkeys(self.filters(), ""))

    def filters(self) -> dict[str, str]:
        """The chosen value of each filter."""
        found: dict[str, str] = self.page.locator("#filters select").evaluate_all(
            "all => Object.fromEntries(all.map((s) => [s.id.replace('filter-', ''), s.value]))"
        )
        return found

    def options(self, name: str) -> list[str]:
        """The values of a filter."""
        found: list[str] = self.page.locator(f"#filter-{name} option").evaluate_all(
            "all => all.map((option) => option.value)"
        )
        return found

    def snapshot(self) -> dict[str, str]:
        """All that filters act on, by part of the page, with all panels drawn."""
        found: dict[str, str] = self.page.evaluate(_SNAPSHOT)
        return found

    def cells(self, selector: str, what: str = "cell.textContent") -> list[list[Any]]:
        """The cells of the lines of a table's body. what: what is read of each, in JavaScript."""
        found: list[list[Any]] = self.page.locator(f"{selector} tbody tr").evaluate_all(
            f"lines => lines.map((line) => [...line.children].map((cell) => {what}))"
        )
        return found

    def heads(self, selector: str) -> list[str]:
        """The headings of a table's columns."""
        found: list[str] = self.page.locator(f"{selector} thead th").all_text_contents()
        return found

    def rows(self) -> list[dict[str, str]]:
        """The shown rows of the table, by column, as they are stored: numbers have all digits."""
        names = self.page.locator("#head th").evaluate_all(
            "all => all.map((head) => head.dataset.column)"
        )
        return [dict(zip(names, line, strict=True)) for line in self.cells("#table", "cell.title")]

    def show_all_rows(self) -> None:
        """Press the button below the table until it has all rows."""
        self.page.evaluate(
            """() => {
              const more = document.getElementById('more');
              while (!more.hidden) more.click();
            }"""
        )

    def downloaded(self) -> str:
        """The file that the button for it gives."""
        with self.page.expect_download() as waiting:
            self.page.click("#download")
        text: str = Path(waiting.value.path()).read_bytes().decode("utf-8")
        return text

    def data(self) -> dict[str, Any]:
        """What the page's scripts read."""
        text = self.page.locator("#data").text_content()
        assert text is not None
        found: dict[str, Any] = json.loads(text)
        return found


@contextmanager
def open_page(browser: "Browser", file: Path, address: str = "", **options: Any) -> "Iterator[Tab]":
    """Open a page. At the end, what it has told fails the test. options: of a context."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    try:
        context.set_default_timeout(20_000)
        tab = Tab(context.new_page())
        _listen(tab)
        tab.page.goto(file.as_uri() + address)
        if options.get("java_script_enabled", True):
            # `wait_for_function` would need eval, which the page forbids.
            tab.page.wait_for_selector("body[data-ready]")
            tab.settle()
        yield tab
        assert tab.told == []
    finally:
        context.close()


def _listen(tab: Tab) -> None:
    """Write down whatever a page does that a report must not do."""

    def request(url: str) -> None:
        if not url.startswith(("file:", "blob:")):
            tab.told.append(f"request: {url}")

    def dismiss(dialog: "Dialog") -> None:
        tab.told.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page, told = tab.page, tab.told
    page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: told.append(f"error: {error}"))
    page.on("dialog", dismiss)
    page.on("request", lambda asked: request(asked.url))
    page.on("popup", lambda other: told.append(f"popup: {other.url}"))
