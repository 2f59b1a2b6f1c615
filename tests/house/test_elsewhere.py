"""On macOS and Windows roots are taken and results are read, and measuring is refused in words.

The systems are simulated, see helpers/elsewhere.py: each in one fresh interpreter, as importing
torch and pandas takes most of the time.
"""

import os
import re
import subprocess
import sys
from functools import cache
from typing import NamedTuple

import pytest
from helpers.elsewhere import PLATFORMS
from helpers.root import ROOT, TESTS
from house.test_layers import modules

RUN = ROOT / "results" / "cpu-2core-quick"
LACKS = """
import os, signal, sys
unix = sys.platform == "darwin"
assert not hasattr(os, "sched_getaffinity")
assert hasattr(os, "fork") == hasattr(os, "O_NOFOLLOW") == hasattr(signal, "SIGCHLD") == unix
try:
    import fcntl
    assert unix
except ImportError:
    assert not unix
"""
ROOTS = f"""
import torch, numpy as np, mssbench
a = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1) * 4
a.requires_grad_()
for forward, backward in (
    ("eigh", None),
    ("newton_schulz", "lyapunov_newton_schulz"),
    ("eigh_parallel", "loewner_parallel"),
    ("auto", None),
):
    y = mssbench.sqrtm(a, forward=forward, backward=backward)
    y.sum().backward()
    assert torch.allclose(y, a / 2)
assert np.allclose(mssbench.isqrtm(np.eye(2)[None] * 4), np.eye(2) / 2)
frame = mssbench.load({str(RUN)!r})
assert len(frame) > 50 and frame["method"].nunique() > 5
"""
FUNCTION = """
import mssbench
from mssbench.errors import RunError
try:
    mssbench.run("quick")
except RunError as error:
    assert str(error).startswith("measuring needs Linux")
else:
    raise AssertionError
"""
MACHINE = f"""
from pathlib import Path
from mssbench.errors import RunError
from mssbench.machine.facts import is_this_machine
from mssbench.machine.processor import model
from mssbench.machine.threads import granted_cores
from mssbench.results.folder import RunFolder
from mssbench.results.locks import held
import os, sys, tempfile
assert granted_cores() == os.cpu_count()
assert not is_this_machine({{"cpu": model()}})
assert not held(Path({str(RUN)!r}))
with tempfile.TemporaryDirectory() as folder:
    try:
        with RunFolder(Path(folder) / "run"):
            assert sys.platform == "darwin"
    except RunError as error:
        assert "no flock" in str(error) and sys.platform == "win32", error
"""
# A plug-in imports a package of somebody else; `__main__` runs.
IMPORTS = "\n".join(
    f"import mssbench.{name}" for name in modules() if name not in ("__init__", "__main__")
)
READ = {
    "show": ["show", RUN],
    "claims": ["claims", ROOT / "results" / "cpu-2core-paper_isqrt_2018"],
    "compare": ["compare", RUN, RUN],
    "export": ["export", RUN, "--to", "markdown"],
    "recommend": ["recommend", "--size", "64", "--batch", "64", RUN],
    "list": ["list", "suites"],
    "forecast": ["run", "quick", "--dry-run"],
    "help": ["run", "--help"],
}
MEASURING = {
    "run": ["run", "quick"],
    "ab": ["ab", "quick", "--base", ".", "--new", "."],
    "selftest": ["selftest"],
    "doctor": ["doctor"],
}
CODE = {"lacks": LACKS, "roots": ROOTS, "function": FUNCTION, "machine": MACHINE}
PROGRAM = """
import sys, traceback
from helpers import elsewhere
elsewhere.pretend({system!r})
for name, code in {parts!r}.items():
    try:
        exec(code, {{"__name__": name}})
        ended = 0
    except SystemExit as stop:
        ended = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        ended = -1
    for stream in (sys.stdout, sys.stderr):  # on both, where a part has ended
        print(f"\\n@ {{name}} {{ended}}", file=stream, flush=True)
"""


class Part(NamedTuple):
    """What became of a part of the program."""

    code: int
    out: str
    err: str


def command(words):
    argv = ["mssbench", *map(str, words)]
    return f"import sys; sys.argv = {argv!r}\nfrom mssbench.cli.main import main; main()"


@cache
def parts(system):
    """Every part by name. Importing everything comes last, so that nothing is there before."""
    code = CODE | {name: command(words) for name, words in (READ | MEASURING).items()}
    paths = os.pathsep.join([str(TESTS), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(system=system, parts=code | {"imports": IMPORTS})],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    out, err = (
        re.findall(r"(.*?)^@ (\w+) (-?\d+)\n", text, re.DOTALL | re.MULTILINE)
        for text in (done.stdout, done.stderr)
    )
    return {
        name: Part(int(code), text.strip(), said.strip())
        for (text, name, code), (said, *_) in zip(out, err, strict=True)
    }


# Windows lacks everything that macOS lacks.
SYSTEMS = [
    pytest.param(system, marks=pytest.mark.slow if system == "macOS" else [])
    for system in PLATFORMS
]


@pytest.mark.parametrize("name", [*CODE, "imports"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_roots_are_taken_tables_are_read_and_every_module_can_be_imported(system, name):
    assert parts(system)[name] == (0, "", "")


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("system", SYSTEMS)
def test_commands_that_read_work(system, name):
    code, out, err = parts(system)[name]
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 3


@pytest.mark.parametrize("name", MEASURING)
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_measures_says_that_it_needs_linux(system, name):
    code, out, err = parts(system)[name]
    assert (code, out) == (2, "")
    assert err.startswith("mssbench: measuring needs Linux, and this is ")
    assert "\n" not in err
