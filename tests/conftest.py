"""Fixtures every test file shares."""

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = [
    "helpers.phases",
    "helpers.sampled",
    "helpers.chromium",
    "helpers.fake_slurm",
    "helpers.slurm",
]

# Quiet before torch is imported: the profiler that weighs memory logs every start to stderr.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

# Tables are as wide as into a pipe, whatever terminal the tests are started from. GNU readline sets
# both, once it is imported, for the workers of pytest-xdist.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

with suppress(ImportError):  # a machine with a GPU runs its tests without hypothesis
    from hypothesis import settings

    # the same examples everywhere, however long one takes on a machine that is busy
    settings.register_profile("steady", deadline=None, derandomize=True, database=None)
    settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="module")
def frozen() -> None:
    """What imports and other tests left behind is not looked through for garbage, as in a worker.

    Each measurement collects garbage first, which takes 0.4 s among 12,000 tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Device locks of the tests' own: a test run neither waits for a real run nor holds it up."""
    folder = tmp_path_factory.mktemp("locks")
    before = os.environ.get("MSSBENCH_LOCKS")
    os.environ["MSSBENCH_LOCKS"] = str(folder)
    yield folder
    if before is None:
        del os.environ["MSSBENCH_LOCKS"]
    else:
        os.environ["MSSBENCH_LOCKS"] = before


@pytest.fixture(autouse=True)
def no_github(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a CI of GitHub, tests write nothing into the summary and outputs of the real step."""
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Where kernels are compiled for the emulation, each when it is first asked for.

    One folder for all workers of a test run: `emulated.compiled` holds a lock for each kernel.
    """
    base = tmp_path_factory.getbasetemp()
    if hasattr(pytestconfig, "workerinput"):
        base = base.parent
    folder = base / "kernels"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def gpu(built: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Kernels run on the CPU, thread by thread."""
    from helpers.emulated import Emulation

    from mssbench.methods.kernels import driver, fused

    emulation = Emulation(built)
    for module in (driver, fused):
        monkeypatch.setattr(module, "driver_of", lambda _: emulation)
    return emulation


@pytest.fixture
def register() -> Iterator[Any]:
    """Register methods for one test: decorators by kind."""
    from mssbench.methods import pair, registry

    with registry.temporarily():
        pair.forget()
        yield {"forward": registry.register_forward, "backward": registry.register_backward}
    pair.forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped where torch has no device, and else run one at a time."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    mark = pytest.mark.skip(reason="no CUDA device")
    if torch.cuda.is_available():
        mark = pytest.mark.timing
    for item in marked:
        item.add_marker(mark)
