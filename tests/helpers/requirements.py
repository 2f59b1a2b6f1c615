"""What a test needs of the machine beyond Python packages: it is skipped where that is missing.

The environment variable MSSBENCH_REQUIRE names what must be there, separated by commas, for example
`chromium` or `slurm,chromium`: the tests that need it fail where it is missing. `.ci/run` sets it,
so that in CI no such test is skipped unseen.
"""

import os
from typing import NoReturn

import pytest

VARIABLE = "MSSBENCH_REQUIRE"


def required() -> frozenset[str]:
    """The names in MSSBENCH_REQUIRE."""
    return frozenset(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))


def missing(name: str, remedy: str) -> NoReturn:
    """Skip the test that needs `name`, or fail it if `name` is required. remedy: what to do."""
    if name in required():
        pytest.fail(f"{VARIABLE} names {name}, which is missing: {remedy}", pytrace=False)
    pytest.skip(f"{name} is missing: {remedy}")
