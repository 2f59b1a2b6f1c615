"""Problems of users' files that could never be measured: an error at registration that names them.

The same kinds of mistake are tried on methods in methods/test_attack_user_code.py.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.tables import mssbench

from mssbench import problems
from mssbench.errors import RegistryError
from mssbench.problems.registry import lookup
from mssbench.registries import load_file

HEAD = """\
from __future__ import annotations
from typing import Literal
import numpy as np
from mssbench.problems import Bounds, register_modifier, register_problem
"""
RIGHT = '''
@register_problem(cite="an attack, 2026")
def mine(n, rng, *, scale: float = 1.0):
    """Multiples of the identity."""
    return np.tile(scale * np.eye(n), (len(rng), 1, 1))
'''


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    registries = problems.REGISTRIES
    with registries["problem"].temporarily(), registries["modifier"].temporarily():
        yield
    problems.parse.cache_clear()


def written(folder: Path, source: str) -> Path:
    file = folder / "mine.py"
    file.write_text(HEAD + source)
    return file


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("n, rng, *, steps: Nowhere = 3", "type hints cannot be resolved: name 'Nowhere'"),
        ("n, rng, *, steps: 'int |' = 3", "type hints cannot be resolved"),
        ("n, rng, *, steps: int", "parameter 'steps' needs a default"),
        ("n, rng, *, steps=np.zeros(3)", "parameter 'steps' has the default array"),
        ("n, rng, *, steps=None", "parameter 'steps' has the default None"),
        ("n, rng, *, steps=float('nan')", "the default of steps is nan"),
        ("n, rng, *, steps: Literal['one', 'two'] = 'too'", "Did you mean 'two'"),
        ("n, rng, *, steps: Literal[1, 2] = 1", "only words can be choices"),
    ],
)
@pytest.mark.parametrize("kind", ["problem", "modifier"])
def test_attack_parameters_that_no_suite_can_write(
    tmp_path: Path, signature: str, said: str, kind: str
) -> None:
    source = f'@register_{kind}(cite="x")\ndef mine({signature}): ...\n'
    with pytest.raises(RegistryError, match="--also") as caught:
        load_file(written(tmp_path, source))
    assert said in str(caught.value)
    assert f"{kind} 'mine'" in str(caught.value) or "steps" in str(caught.value)


@pytest.mark.parametrize(
    ("registered", "said"),
    [
        ("bounds={'scale': Bounds(low=2.0)}", "the default of scale is 1.0 and must be at least 2"),
        ("bounds={'scael': Bounds()}", "Did you mean 'scale'"),
        ("bounds={'scale': (0, 1)}", "Write Bounds(low, high)"),
        ("fits='any'", "fits = 'any' is not a function. It must be a function of n and the param"),
        ("fits=lambda n: None", "fits(64) fails: TypeError"),
        ("fits=lambda n, scale: 1 / 0", "fits(64) fails: ZeroDivisionError"),
        ("fits=lambda n, scale: True", "fits(64) gave True"),
        ("samples=8", "that returns the number of samples, a whole number"),
        ("samples=lambda n, scale: n / 2", "samples(64) gave 32.0, not a whole number"),
        ("samples=lambda n, scale: 1 / 0", "samples(64) fails: ZeroDivisionError"),
    ],
)
def test_attack_a_registration_that_means_nothing(
    tmp_path: Path, registered: str, said: str
) -> None:
    source = RIGHT.replace('cite="an attack, 2026"', f'cite="an attack, 2026", {registered}')
    with pytest.raises(RegistryError, match="--also") as caught:
        load_file(written(tmp_path, source))
    assert said in str(caught.value)
    assert "problem 'mine'" in str(caught.value)


@pytest.mark.parametrize(
    "registered",
    [
        "fixed_size=30, samples=lambda n, **_: {30: 400}[n]",
        "samples=lambda n, **_: np.int64(2 * n)",
        "max_size=16, samples=lambda n, **_: 1 // (n < 17)",
    ],
)
def test_a_right_registration_is_taken(tmp_path: Path, registered: str) -> None:
    load_file(written(tmp_path, RIGHT.replace('2026"', f'2026", {registered}')))
    assert lookup("problem", "mine").name == "mine"


def _made_of_text() -> Callable[..., Any]:
    made: dict[str, Any] = {"__name__": "nowhere"}
    exec("def mine(n, rng): ...", made)
    return made["mine"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("register", [problems.register_problem, problems.register_modifier])
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (_made_of_text(), "has no source file"),
        (len, "has no source file"),
        (functools.partial(sorted), "is not a function"),
        (3, "is not a function"),
    ],
)
def test_attack_what_has_no_source(register: Callable[..., Any], call: Any, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        register(cite="x")(call)


def test_attack_hints_for_type_checkers_alone_harm_nobody(tmp_path: Path) -> None:
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from somewhere import Streams\n"
        + RIGHT.replace("rng,", "rng: Streams,")
    )
    load_file(written(tmp_path, source))
    assert problems.make("mine(2)", 4, 3, 0).master.tolist()[0][0][0] == 2.0
    assert list(lookup("problem", "mine").parameters) == ["scale"]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "returned NoneType, not a NumPy array"),
        ("[[1.0]]", "returned list, not a NumPy array"),
        ("np.eye(n)", "not float64 (2, 4, 4)"),
        ("np.tile(np.eye(n, dtype='f4'), (len(rng), 1, 1))", "returned float32"),
        ("np.full((len(rng), n, n), np.nan)", "not finite and symmetric"),
    ],
)
def test_attack_a_problem_that_returns_no_matrices(
    tmp_path: Path, returned: str, said: str
) -> None:
    source = RIGHT.replace("np.tile(scale * np.eye(n), (len(rng), 1, 1))", returned)
    load_file(written(tmp_path, source))
    with pytest.raises(RegistryError) as caught:
        problems.make("mine", 4, 2, 0)
    assert said in str(caught.value)


@pytest.mark.slow
def test_attack_a_rule_of_sizes_that_fails_at_one_size_is_a_row(tmp_path: Path) -> None:
    """The rule is met for each cell in the supervisor, where an error would end the run."""
    rule = "fits=lambda n, scale: None if n == 64 else 1 / (n - 8)"
    file = written(
        tmp_path, RIGHT.replace('cite="an attack, 2026"', f'cite="an attack, 2026", {rule}')
    )
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[axes]\nproblem = "mine"\nsize = 8\nbatch = 2\n'
        '[[method]]\nforward = "torch/eigh"\n'
    )
    done = mssbench(
        "run", str(tmp_path / "mine.toml"), "--also", str(file), "--out", str(tmp_path / "out")
    )
    assert "Traceback" not in done.stderr
    table = (tmp_path / "out" / "table.csv").read_text()
    assert "fits(8) fails: ZeroDivisionError" in table
    assert "unsupported" in table
