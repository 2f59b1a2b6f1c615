"""`mssbench report` from the command line: the file that it writes, and what it refuses."""

import re
from pathlib import Path

import pytest
from helpers.altered_runs import QUICK

from mssbench.cli.report import command
from mssbench.errors import RunError


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.html.gz", "html"])
def test_a_file_that_would_not_be_html_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with pytest.raises(RunError, match=r"must end in \.html") as caught:
        command([QUICK], file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "print it" in str(caught.value)
    assert not file.exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "nodir"
    words = re.escape(f"{folder}/report.html: the folder {folder} does not exist.")
    with pytest.raises(RunError, match=words):
        command([QUICK], folder / "report.html")
    assert not folder.exists()


@pytest.mark.parametrize("name", ["page.html", "PAGE.HTM"])
def test_a_page_is_written(tmp_path: Path, name: str) -> None:
    command([QUICK], tmp_path / name, "A title")
    assert "<title>A title</title>" in (tmp_path / name).read_text(encoding="utf-8")
