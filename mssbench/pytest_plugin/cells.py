"""What `pytest --mssbench SUITE` collects: a test for each cell of it."""

from typing import Any

from mssbench.pytest_plugin import bench


def test_cell(mssbench_cell: Any, benchmark: Any) -> None:
    """A benchmark with its errors; see pytest_plugin.bench."""
    bench(mssbench_cell, benchmark)
