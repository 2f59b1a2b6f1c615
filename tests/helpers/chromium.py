"""A pytest plugin: the fixture `chromium`, a headless browser, one for all tests of a session.

The browser is that of Debian and Ubuntu. playwright drives it; its own browsers are not needed. The
variable CHROMIUM names another binary.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from helpers.requirements import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REMEDY = "apt-get install chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def binary() -> str | None:
    """The browser's program, or None if there is none."""
    names = [os.environ["CHROMIUM"]] if "CHROMIUM" in os.environ else _NAMES
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """A headless Chromium. Tests that need it are skipped without one, see requirements.py."""
    program = binary()
    if program is None:
        missing("chromium", REMEDY)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("chromium", "pip install playwright")

    with _without_locks():
        playwright = sync_playwright().start()
        browser = playwright.chromium.launch(executable_path=program)  # for root too: no sandbox
    yield browser
    browser.close()
    playwright.stop()


@contextmanager
def _without_locks() -> Iterator[None]:
    """Start processes that do not look like what a run left behind, see runs.relatives."""
    locks = os.environ.pop("MSSBENCH_LOCKS", None)
    try:
        yield
    finally:
        if locks is not None:
            os.environ["MSSBENCH_LOCKS"] = locks
