"""Files of users that fail in every way: an error with the file's name, never a silent end."""

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.cells import CELL, FAST
from helpers.tables import mssbench

from mssbench.errors import RegistryError
from mssbench.measure import code_hash
from mssbench.measure.measure import measure
from mssbench.methods import pair, registry
from mssbench.methods.registry import register_backward, register_forward
from mssbench.records.measurement import Measurement, Status
from mssbench.registries import load_file

HEAD = """\
from mssbench import Root, register_forward
import numpy as np
"""
RIGHT = """
@register_forward(cite="an attack, 2026", products=lambda: 9.0, yields=("sqrt",))
def mine(a) -> Root:
    from mssbench.methods import registry
    return registry.lookup("forward", "eigh").call(a, frozenset(["sqrt"]))
"""


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    with registry.temporarily():
        yield
    pair.forget()
    code_hash.forget()
    for name in {*sys.modules} - before:
        if "_attack" in name or "mssbench_also" in name:
            del sys.modules[name]


def written(folder: Path, source: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(source)
    return file


def measured(file: Path, **changes: Any) -> tuple[Measurement, ...]:
    load_file(file)
    return measure(replace(CELL, forward="mine", **changes), FAST).measurements


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0: it ends the program"),
        ("raise SystemExit", "SystemExit: it ends the program"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit('odd')", "GeneratorExit: odd"),
        ("class Own(BaseException): ...\nraise Own('mine')", "Own: mine"),
        ("1 / 0", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
    ],
)
def test_attack_a_file_that_ends_while_it_is_imported(tmp_path: Path, line: str, said: str) -> None:
    file = written(tmp_path, HEAD + line)
    with pytest.raises(RegistryError, match="--also") as caught:
        load_file(file)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_attack_a_file_that_exits_measures_nothing_and_says_so(tmp_path: Path) -> None:
    file = written(tmp_path, "import sys\nsys.exit(0)\n")
    done = mssbench("run", "smoke", "--also", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert "mine.py" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("registered", "said"),
    [
        ('products=3.0, yields=("sqrt",)', "products = 3.0 is not a function"),
        ('products=lambda: 1 / 0, yields=("sqrt",)', "fails with the defaults: ZeroDivisionError"),
        ('products=lambda x: 1.0, yields=("sqrt",)', "fails with the defaults: TypeError"),
        ('products=lambda: "9", yields=("sqrt",)', "gave '9', which is not a number"),
        ('products=lambda: 9.0, yields="sqrt"', "yields = 'sqrt' is one word"),
        ('products=lambda: 9.0, yields=("root",)', "Unknown word in yields of mine 'root'"),
        ('products=lambda: 9.0, libraries="torch"', "libraries = 'torch' is one word"),
        ('products=lambda: 9.0, libraries=("touch",)', "Did you mean 'torch'"),
        ('products=lambda: 9.0, precisions=("fp32",)', "Did you mean 'float32'"),
        ('products=lambda: 9.0, devices=("gpu",)', "Did you mean 'cuda'"),
    ],
)
def test_attack_a_registration_that_means_nothing(
    tmp_path: Path, registered: str, said: str
) -> None:
    source = f'{HEAD}@register_forward(cite="x", {registered})\ndef mine(a) -> Root: ...\n'
    with pytest.raises(RegistryError, match="--also") as caught:
        load_file(written(tmp_path, source))
    assert said in str(caught.value)
    assert "mine" in str(caught.value)


def test_the_function_that_a_message_proposes_for_a_number_is_taken(tmp_path: Path) -> None:
    source = HEAD + (
        '@register_forward(cite="an attack, 2026", products=14, yields=("sqrt",))\n'
        "def mine(a, *, steps: int = 3) -> Root: ...\n"
    )
    with pytest.raises(RegistryError, match="is not a function") as caught:
        load_file(written(tmp_path, source))

    proposed = str(caught.value).rpartition("Write ")[2].removesuffix(".")
    load_file(written(tmp_path, source.replace("products=14", proposed)))
    assert registry.lookup("forward", "mine").cost({"steps": 5}) == 14


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("a, *, steps: Nowhere = 3", "type hints cannot be resolved: name 'Nowhere'"),
        ("a, *, steps: 'int |' = 3", "type hints cannot be resolved"),
        ("a, *, steps: int", "parameter 'steps' needs a default"),
        ("a, *, steps=np.zeros(3)", "parameter 'steps' has the default array"),
        ("a, *, steps=None", "parameter 'steps' has the default None"),
    ],
)
def test_attack_parameters_that_no_suite_can_write(
    tmp_path: Path, signature: str, said: str
) -> None:
    source = (
        f"from __future__ import annotations\n{HEAD}"
        f'@register_forward(cite="x", products=lambda **_: 9.0)\ndef mine({signature}): ...\n'
    )
    with pytest.raises(RegistryError, match="--also") as caught:
        load_file(written(tmp_path, source))
    assert said in str(caught.value)


def test_attack_hints_for_type_checkers_alone_harm_nobody(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        f"if TYPE_CHECKING:\n    from somewhere import Matrix\n{HEAD}"
        + RIGHT.replace("mine(a)", "mine(a: Matrix)")
    )
    assert {m.status for m in measured(written(tmp_path, source))} == {Status.OK}


def _made_of_text() -> Callable[..., Any]:
    made: dict[str, Any] = {"__name__": "nowhere"}
    exec("def mine(a): ...", made)
    return made["mine"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (_made_of_text(), "has no source file"),
        (len, "has no source file"),
        (functools.partial(replace), "is not a function"),
        (3, "is not a function"),
    ],
    ids=["exec", "built in", "partial", "number"],
)
@pytest.mark.parametrize("register", [register_forward, register_backward])
def test_attack_a_method_whose_code_nobody_can_read(
    register: Callable[..., Any], call: Any, said: str
) -> None:
    with pytest.raises(RegistryError, match=said):
        register(cite="x", products=lambda: 1.0)(call)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return a", "returned a torch.Tensor: return Root(sqrt=...)"),
        ("a @ a", "returned nothing: return Root(sqrt=...)"),
        ("return {'sqrt': a}", "returned a builtins.dict: return Root(sqrt=...)"),
        ("return Root(isqrt=a)", "returned a Root without sqrt: return Root(sqrt=...)"),
        ("return Root(sqrt=[a])", "the root is a builtins.list, not a torch.Tensor"),
    ],
)
@pytest.mark.parametrize("backward", ["none", "lyapunov_newton_schulz"])
def test_attack_something_else_than_a_root_is_returned(
    tmp_path: Path, body: str, said: str, backward: str
) -> None:
    source = (
        f'{HEAD}@register_forward(cite="x", products=lambda: 9.0, yields=("sqrt",))\n'
        f"def mine(a) -> Root:\n    {body}\n"
    )
    for m in measured(written(tmp_path, source), backward=backward):
        assert m.status is Status.CRASHED
        if backward == "none" or "Root(sqrt=...)" in said:
            assert said in m.reason


@pytest.mark.parametrize(
    ("returned", "said"), [("None", "returned nothing"), ("root", "returned a mssbench.")]
)
def test_attack_a_backward_that_returns_no_array(tmp_path: Path, returned: str, said: str) -> None:
    source = (
        f"{HEAD}from mssbench import register_backward\n{RIGHT}\n"
        '@register_backward(cite="x", products=lambda: 9.0)\n'
        f"def ours(root, function, g):\n    return {returned}\n"
    )
    for m in measured(written(tmp_path, source), backward="ours"):
        assert m.status is Status.CRASHED
        assert f"backward 'ours' {said}" in m.reason


def test_attack_a_crash_shows_where_it_was_and_how_it_came_there(tmp_path: Path) -> None:
    helper = "def checked(a):\n    raise ValueError('a long way down ' + 'x' * 1000)\n"
    written(tmp_path, helper, "helper_of_the_attack.py")
    source = (
        f"{HEAD}from helper_of_the_attack import checked\n"
        '@register_forward(cite="x", products=lambda: 9.0, yields=("sqrt",))\n'
        "def mine(a) -> Root:\n    return Root(sqrt=checked(a))\n"
    )
    load_file(written(tmp_path, source))
    found = measure(replace(CELL, forward="mine"), FAST)
    reason = found.measurements[0].row()["reason"]
    assert reason.startswith("ValueError: a long way down")
    assert "(helper_of_the_attack.py:2 in checked, from mine.py:6 in mine)" in reason
    assert "Traceback" in found.log
    assert "return Root(sqrt=checked(a))" in found.log


def test_attack_a_method_that_exits_is_a_crash(tmp_path: Path) -> None:
    source = RIGHT.replace("    from mss", "    raise SystemExit(0)\n    from mss")
    (m,) = measured(written(tmp_path, HEAD + source))
    assert m.status is Status.CRASHED
    assert m.reason.startswith("SystemExit: 0 (mine.py:")


@pytest.mark.slow
def test_attack_the_log_beside_the_table_has_the_traceback(tmp_path: Path) -> None:
    source = RIGHT.replace("    from mss", "    {}['nothing']\n    from mss")
    file, out = written(tmp_path, HEAD + source), tmp_path / "out"
    suite = written(
        tmp_path,
        'name = "one"\n[axes]\nsize = [8]\nbatch = [2]\nfunction = ["sqrt"]\n'
        'problem = ["wishart(ratio=2)"]\nprecision = ["float64"]\nseed = [0]\n'
        '[[method]]\nforward = ["torch/mine"]\nbackward = ["none"]\n',
        "one.toml",
    )
    done = mssbench("run", str(suite), "--also", str(file), "--out", str(out), "--device", "cpu")
    log = out / "errors.log"
    assert log.exists(), done.stdout + done.stderr
    assert "KeyError: 'nothing'" in log.read_text()
    assert "mine.py:" in (out / "table.csv").read_text()


def hashed(source: str, helper: str, folder: Path, name: str) -> str:
    """The hash of a cell of `mine`, in a process of its own, as a run would have it."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(helper)
    file = written(folder, source)
    code = (
        "from pathlib import Path\nfrom mssbench.registries import load_file\n"
        "from mssbench.measure.code_hash import hash_of\nfrom mssbench.methods import registry\n"
        "import inspect\n"
        f"load_file(Path({str(file)!r}))\n"
        "method = registry.lookup('forward', 'mine')\n"
        "print(hash_of(frozenset([inspect.unwrap(method.call).__module__])))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HELPERS = {
    "a module": ("from my_helper import ONE\n", "my_helper.py"),
    "a package": ("from my_helpers.deep import ONE\n", "my_helpers/deep.py"),
    "inside a function": ("def later():\n    import my_helper\n", "my_helper.py"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("line", "name"), HELPERS.values(), ids=HELPERS)
def test_attack_a_helper_is_edited(tmp_path: Path, line: str, name: str) -> None:
    one, again, two = (
        hashed(HEAD + line + RIGHT, text, tmp_path, name)
        for text in ("ONE = 1\n", "ONE = 1  # the same\n", "ONE = 2\n")
    )
    assert one == again
    assert one != two


def test_attack_two_folders_have_a_helper_of_one_name(tmp_path: Path) -> None:
    source = HEAD + "import helper_attack\n"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, f"NAME = {name!r}\n", "helper_attack.py")
    load_file(written(tmp_path / "first", source))
    with pytest.raises(RegistryError, match="The file beside it has this name, but Python took"):
        load_file(written(tmp_path / "second", source))


def test_attack_a_file_beside_ours_has_the_name_of_a_module_of_python(tmp_path: Path) -> None:
    written(tmp_path, "raise ImportError('the wrong one')\n", "statistics.py")
    written(tmp_path, "raise ImportError('the wrong one')\n", "numpy.py")
    load_file(written(tmp_path, f"{HEAD}import statistics\nassert statistics.median\n{RIGHT}"))


SETTINGS = """
import os
import numpy as np
import torch
torch.set_num_threads(torch.get_num_threads() + 1)
np.seterr(all="raise")
os.environ["OF_THE_FILE"] = "kept"
"""
SUITE = """
name = "tiny"
[axes]
size = 4
batch = 2
problem = "wishart(ratio=2)"
device = "cpu"
[[method]]
forward = ["torch/mine", "torch/eigh"]
[measure]
min_seconds = 0.0
min_samples = 2
max_seconds = 0.05
warmup_seconds = 0.0
"""


@pytest.mark.slow
def test_attack_a_file_changes_settings_when_it_is_imported(tmp_path: Path) -> None:
    """That would change how every method is measured, also those of others."""
    file = written(tmp_path, HEAD + SETTINGS + RIGHT)
    suite = written(tmp_path, SUITE, "tiny.toml")
    out = tmp_path / "out"
    done = mssbench("run", suite, "--also", file, "--out", out, MSSBENCH_LOCKS=tmp_path / "locks")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert f"{file.name} changed " in said
    assert "torch's threads" in said
    assert "numpy's handling of errors" in said
    assert "environment" not in said, "imports set variables for good reasons"
    assert said.count("when it was imported") == 1
    assert "was undone: change it inside the method that needs it" in said


@pytest.mark.slow
def test_attack_a_file_without_such_settings_says_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, HEAD + "import scipy.linalg, torch.fft\n" + RIGHT)
    suite = written(tmp_path, SUITE, "tiny.toml")
    out = tmp_path / "out"
    done = mssbench("run", suite, "--also", file, "--out", out, MSSBENCH_LOCKS=tmp_path / "locks")
    assert done.returncode == 0, done.stderr
    assert "when it was imported" not in done.stderr
