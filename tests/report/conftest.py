"""Fixtures for tests of the report in a browser."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.altered_runs import CLAIMS, QUICK, STANDARD
from helpers.report_pages import open_page, write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on two committed runs: quick and standard."""
    folder = tmp_path_factory.mktemp("report")
    return write_page([QUICK, STANDARD], folder / "both.html")


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on one committed run."""
    return write_page([QUICK], tmp_path_factory.mktemp("report") / "quick.html")


@pytest.fixture(scope="session")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on a committed run whose suite has claims of papers."""
    return write_page([CLAIMS], tmp_path_factory.mktemp("report") / "claims.html")


@pytest.fixture
def opened(chromium: "Browser") -> Callable[..., Any]:
    """Open a page as a context manager, see open_page."""

    def opener(file: Path, address: str = "", **options: Any) -> Any:
        return open_page(chromium, file, address, **options)

    return opener
