"""Things by name: built in, from a file, or from a plug-in, and what is said where one fails."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import NamedTuple

import pytest

from mssbench import registries
from mssbench.errors import NotInstalled, RegistryError
from mssbench.registries import Registry, load_file

# Called by the module of a plug-in, which cannot see the registry of a test otherwise.
REGISTER_THEIRS: list[Callable[..., None]] = []


class Thing(NamedTuple):
    name: str
    call: Callable[..., object]


def built_in() -> None:
    """Belongs to this module."""


def defined_in(module: str) -> Callable[..., object]:
    def call() -> None: ...

    call.__module__ = module
    return call


@pytest.fixture
def loads() -> list[str]:
    return []


@pytest.fixture
def registry(loads: list[str]) -> Registry[Thing]:
    def load() -> None:
        if not loads:
            things.add(Thing("ours", built_in))
        loads.append("loaded")

    things: Registry[Thing] = Registry("thing", load)
    return things


@pytest.fixture
def plugin(
    registry: Registry[Thing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Offer a plug-in: the name of its entry point, and the source of its module."""
    offered: list[EntryPoint] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        registries, "entry_points", lambda group: EntryPoints(offered).select(group=group)
    )

    def offer(name: str, source: str, module: str = "a_plugin_of_the_tests") -> None:
        (tmp_path / f"{module}.py").write_text(source)
        offered.append(EntryPoint(name, module, "mssbench.thing"))

    yield offer
    for module in [m for m in sys.modules if m.startswith("a_plugin_of_the_tests")]:
        del sys.modules[module]


def test_built_in_things_are_loaded_when_one_is_looked_up(
    registry: Registry[Thing], loads: list[str]
) -> None:
    assert not loads
    assert registry.lookup("ours").call is built_in
    assert list(registry.known()) == registry.names() == ["ours"]


def test_an_unknown_name_is_refused_with_the_nearest(registry: Registry[Thing]) -> None:
    with pytest.raises(RegistryError, match=r"Unknown thing 'our'. Did you mean 'ours'"):
        registry.lookup("our")


def test_a_name_belongs_to_the_module_that_took_it_first(registry: Registry[Thing]) -> None:
    registry.lookup("ours")
    registry.add(Thing("ours", built_in))  # a module that is imported again changes nothing
    with pytest.raises(RegistryError, match=r"'ours' is registered twice: by .* and by another"):
        registry.add(Thing("ours", defined_in("another")))


@pytest.fixture
def added(
    monkeypatch: pytest.MonkeyPatch, registry: Registry[Thing]
) -> Iterator[Callable[[Path], None]]:
    """Load a file as `--also` does, after it was written with a function that registers itself."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}

    def add(file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            f"import sys\ndef mine(): ...\nsys.modules[{__name__!r}].REGISTER_THEIRS[0](mine)\n"
        )
        load_file(file)

    REGISTER_THEIRS[:] = [lambda call: registry.add(Thing("mine", call))]
    yield add
    for module in {*sys.modules} - before:
        del sys.modules[module]


COPY = r"This is a second copy of a file that comes with mssbench: install the clone with `pip inst"


@pytest.mark.parametrize(
    ("first", "second", "remedy"),
    [
        ("site/mssbench/methods/forward/eigh.py", "clone/mssbench/methods/forward/eigh.py", COPY),
        ("site/mssbench/methods/backward/x.py", "mssbench/mssbench/methods/backward/x.py", COPY),
        ("site/mssbench/problems/real.py", "clone/mssbench/problems/real.py", COPY),
        ("site/mssbench/methods/forward/eigh.py", "clone/mssbench/methods/forward/svd.py", ""),
        ("site/mssbench/methods/forward/eigh.py", "mssbench/eigh.py", ""),
        ("mssbench/mine.py", "mine.py", ""),
        ("other/methods/forward/eigh.py", "clone/mssbench/methods/forward/eigh.py", ""),
    ],
)
def test_a_name_of_two_files_is_refused_with_the_files_and_a_remedy(
    tmp_path: Path, added: Callable[[Path], None], first: str, second: str, remedy: str
) -> None:
    added(tmp_path / first)
    said = (
        f"registered twice: by .*/{first} and by .*/{second}. {remedy or 'Rename one of the two'}"
    )
    with pytest.raises(RegistryError, match=said):
        added(tmp_path / second)


def test_what_is_registered_in_a_block_is_forgotten_after_it(registry: Registry[Thing]) -> None:
    with pytest.raises(ZeroDivisionError), registry.temporarily():  # noqa: PT012
        registry.add(Thing("passing", built_in))
        assert registry.names() == ["ours", "passing"]
        raise ZeroDivisionError
    assert registry.names() == ["ours"]


def test_a_plugin_is_imported_when_its_name_is_asked_for(
    registry: Registry[Thing], plugin: Callable[..., None], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    plugin("theirs", f"open({str(log)!r}, 'w').close()\nTHINGS.add('x')")
    assert registry.names() == ["ours", "theirs"]
    registry.lookup("ours")
    assert not log.exists()
    with pytest.raises(NotInstalled, match="NameError"):
        registry.lookup("theirs")
    assert log.exists()


def test_a_plugin_that_is_imported_in_a_block_stays_registered_after_it(
    registry: Registry[Thing], plugin: Callable[..., None]
) -> None:
    """Its module registers nothing when it is imported a second time."""
    source = f"import sys\nregister = sys.modules[{__name__!r}].REGISTER_THEIRS[0]\nregister()"
    plugin("theirs", source)
    REGISTER_THEIRS[:] = [lambda: registry.add(Thing("theirs", built_in))]

    with registry.temporarily():
        registry.lookup("theirs")
        registry.add(Thing("passing", built_in))
    assert registry.names() == ["ours", "theirs"]
    assert registry.lookup("theirs").call is built_in


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_there_at_all", "needs not_there_at_all: pip install not_there_at_all"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("raise ImportError('its CUDA is too old')", "cannot be imported: ImportError: its CUDA"),
        ("def broken(:", "cannot be imported: SyntaxError: "),
        ("", "its package registers no thing of this name. Its author has to give"),
    ],
    ids=["lacks a package", "raises", "fails to import", "is no Python", "is empty"],
)
def test_a_plugin_that_fails_is_named_with_its_reason_and_harms_no_other(
    registry: Registry[Thing], plugin: Callable[..., None], source: str, reason: str
) -> None:
    plugin("theirs", source)
    with pytest.raises(NotInstalled) as caught:
        registry.lookup("theirs")
    assert reason in str(caught.value)
    assert "thing 'theirs' of a_plugin_of_the_tests" in str(caught.value)
    assert reason in registry.load_plugins()["theirs"]
    assert list(registry.known()) == ["ours"]


def test_a_name_that_two_packages_offer_is_refused(
    registry: Registry[Thing], plugin: Callable[..., None]
) -> None:
    plugin("theirs", "", "a_plugin_of_the_tests_1")
    plugin("theirs", "", "a_plugin_of_the_tests_2")
    with pytest.raises(RegistryError, match=r"is offered twice: by \S+_1 and by \S+_2"):
        registry.lookup("theirs")


@pytest.mark.parametrize(
    ("source", "said"),
    [(None, "there is no such Python file"), ("1 / 0", "ZeroDivisionError: division by zero")],
)
def test_a_file_that_cannot_be_run_is_refused_by_name(
    tmp_path: Path, source: str | None, said: str
) -> None:
    file = tmp_path / "mine.py"
    if source is not None:
        file.write_text(source)
    with pytest.raises(RegistryError) as caught:
        load_file(file)
    assert str(caught.value).startswith(f"--also {file}: {said}")
    assert not [m for m in sys.modules if m.startswith("mssbench_also_") and "mine" in m]


def test_a_file_is_run_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    log = tmp_path / "log"
    file.write_text(f"with open({str(log)!r}, 'a') as log:\n    log.write('ran ')\n")
    load_file(file)
    load_file(file)
    assert log.read_text() == "ran "
