"""The test file that `pytest --mssbench SUITE` collects, with one test for each cell.

A cell is one combination of method, problem, size, batch and so on.
"""

from typing import Any

import pytest

from mssbench.pytest_plugin import bench, count


def test_cell(mssbench_cell: Any, benchmark: Any, request: pytest.FixtureRequest) -> None:
    """Benchmark and verify one cell: one combination of method, problem, size and so on."""
    try:
        bench(mssbench_cell, benchmark)
    except pytest.skip.Exception:
        raise
    except BaseException:
        count(request.config)  # the cell was tried, and its failure counts as a result
        raise
    count(request.config)
