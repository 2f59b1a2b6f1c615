"""What a shell offers after a tab: commands, suites, columns and statuses, from the code itself."""

import os
import subprocess
import sys

import pytest

from mssbench.records.measurement import Status
from mssbench.records.schema import COLUMNS
from mssbench.suite import shipped


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["rec"], {"recommend"}),
        (["run", ""], set(shipped.of_runs())),
        (["run", "paper_i"], {"paper_isqrt_2018"}),
        (["ab", "sm"], {"smoke"}),
        (["show", "x", "--value", "root"], {c for c in COLUMNS if c.startswith("root")}),
        (["run", "quick", "--retry", ""], {str(status) for status in Status}),
    ],
)
def test_a_tab_offers_what_there_is(words: list[str], offered: set[str]) -> None:
    line = " ".join(["mssbench", *words])
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'mssbench'\nfrom mssbench.cli.main import main; main()",
        ],
        env=os.environ
        | {
            "_MSSBENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert set(done.stdout.split()) == offered, done.stderr
