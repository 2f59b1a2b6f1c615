"""A user with covariances in a .npy, who asks which method suits them."""

import re
from typing import Any

import numpy as np
import pytest
from helpers import pace

import mssbench

LIMIT = 60  # seconds, on two cores
# Instead of a method: none is right, or the machine was busy.
WHY_NONE = ("No method is right on every kind of matrix.", "Which is faster is not known.")

MAKE = """\
import numpy as np

x = np.random.default_rng(3).standard_normal((64, 64, 256))
np.save("cov.npy", (x @ x.transpose(0, 2, 1) / 256).astype(np.float32))
"""


@pytest.mark.slow
@pytest.mark.timing
def test_my_own_matrices(user: Any) -> None:
    user.writes("make.py", MAKE)
    assert user.types("python make.py").code == 0

    run = user.types("mssbench run quick --matrices cov.npy")
    assert run.code == 0, run.text
    assert run.seconds < LIMIT or run.seconds < LIMIT * pace.slowness()
    assert "cov.npy: 64 matrices of 64 × 64, float32" in run.text
    method = re.search(r"^Use (\w+)(?: \+ \w+)?:", run.text, re.M)
    unfolded = " ".join(run.text.split())
    assert method or any(reason in unfolded for reason in WHY_NONE), run.text

    folder = user.folder / "results" / "quick-cov"
    assert (folder / "table.csv").stat().st_size > 0
    shown = user.types("mssbench show results/quick-cov")
    assert shown.code == 0, shown.text
    if method:
        assert f"torch/{method[1]}" in shown.text

    check(mssbench.load(folder), np.load(user.folder / "cov.npy"))


def check(table: Any, matrices: Any) -> None:
    """All rows are of this file: the problem says so, and the condition is that of its matrices."""
    assert len(table)
    assert table["problem"].str.startswith("file(path=cov.npy,").all()
    assert set(zip(table["size"], table["batch"], table["precision"], strict=True)) == {
        (64, 64, "float32")
    }

    measured = table[table["seconds_median"].notna()]
    assert {"eigh", "svd", "newton_schulz"} <= set(measured["forward"])
    conditions = np.linalg.cond(matrices.astype(np.float64))
    assert np.allclose(measured["condition"], conditions.max(), rtol=1e-3)
