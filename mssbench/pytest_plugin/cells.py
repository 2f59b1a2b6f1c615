"""What `pytest --mssbench SUITE` collects: a test for each cell of it."""

from typing import Any

import pytest

from mssbench.pytest_plugin import bench, count


def test_cell(mssbench_cell: Any, benchmark: Any, request: pytest.FixtureRequest) -> None:
    """A benchmark with its errors; see pytest_plugin.bench."""
    try:
        bench(mssbench_cell, benchmark)
    except pytest.skip.Exception:
        raise
    except BaseException:
        count(request.config)  # it was tried, and its failure is a result
        raise
    count(request.config)
