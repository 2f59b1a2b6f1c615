"""What is asked of a GPU about the kernels, asked of the emulation."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.emulated import Emulation

from mssbench.methods.kernels import driver, examine, fused
from mssbench.methods.kernels.planner import LIMITS
from mssbench.methods.kernels.variants import VARIANTS


@pytest.fixture
def gpu(built: Path, monkeypatch: pytest.MonkeyPatch) -> Emulation:
    """Host arrays in the place of CuPy's; torch is as it is, on a CPU."""
    runtime = SimpleNamespace(deviceSynchronize=lambda: None)
    cupy = SimpleNamespace(
        asarray=np.asarray, zeros=np.zeros, cuda=SimpleNamespace(runtime=runtime)
    )
    real, emulation = examine.importlib.import_module, Emulation(built)
    monkeypatch.setattr(
        examine.importlib, "import_module", lambda name: cupy if name == "cupy" else real(name)
    )
    for module in (fused, driver):
        monkeypatch.setattr(module, "driver_of", lambda _: emulation)
    return emulation


def test_every_family_has_a_launch() -> None:
    assert {v.family for v in VARIANTS} <= set(examine.LAUNCHES)


@pytest.mark.slow
def test_one_kernel_of_each_family_is_launched_after_the_sign_that_the_gpu_works(
    gpu: Emulation, capsys: Any
) -> None:
    assert examine.launch(tuple(examine.LAUNCHES), 6, 3) == []
    launched = [(launch.variant.family, launch.variant.operands) for launch in gpu.launches]
    tensor_cores = [(family, "tf32x3") for family in ("iterate", "lyapunov")]
    assert launched == [*dict.fromkeys((v.family, None) for v in VARIANTS), *tensor_cores]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == examine.READY
    assert lines[1:-1] == [f"{f}: n = 6, B = 3, finite" for f in list(examine.LAUNCHES)[:-1]]
    assert "on a CPU" in lines[-1]  # Triton's; a refusal is none of a kernel's mistakes


def test_a_result_that_is_not_finite_is_named(
    gpu: Emulation, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(examine.LAUNCHES, "loewner", lambda x: x.a * np.nan)
    monkeypatch.setattr("sys.argv", ["examine", "launch", "jacobi", "loewner", "--size", "5"])
    assert examine.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "loewner: n = 5, B = 9, NOT FINITE"
    monkeypatch.setattr("sys.argv", ["examine", "launch", "jacobi", "--size", "5"])
    assert examine.main() == 0


def test_a_family_that_is_none_is_misuse(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["examine", "launch", "jacobbi"])
    with pytest.raises(SystemExit, match="2"):
        examine.main()
    assert "no family jacobbi. Known: iterate, " in capsys.readouterr().err


def test_what_a_kernel_takes_or_why_it_does_not_load(
    gpu: Emulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = next(v for v in VARIANTS if v.symbol == "mss_iterate_f32_n32")
    kernel = SimpleNamespace(num_regs=64, local_size_bytes=8, max_threads_per_block=1024)
    monkeypatch.setattr(driver, "_kernel", lambda *_: kernel)
    row = examine.loaded(variant)
    assert row == {
        "kernel": variant.symbol,
        "threads": 288,
        "shared_bytes": variant.shared_bytes,
        "fits": True,
        "registers": 64,
        "local_bytes": 8,
        "most_threads": 1024,
        "blocks_at_once": 3,
        "matrices_at_once": 12,
    }
    gpu.limits = LIMITS["sm_75"]
    large = next(v for v in VARIANTS if v.symbol == "mss_iterate_f32_n128r8")
    assert examine.loaded(large)["fits"] is False

    def fails(*_: Any) -> None:
        raise RuntimeError("does not compile")

    monkeypatch.setattr(driver, "_kernel", fails)
    assert examine.loaded(variant)["error"] == "RuntimeError: does not compile"


def test_the_table_says_by_what_kernels_were_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real CuPy, which imports without a driver; the pool would ask for one."""
    cupy = pytest.importorskip("cupy")

    class Pool(nullcontext[Any]):
        def __enter__(self) -> "Pool":
            return self

        def map(self, _: Any, variants: Any) -> list[str]:
            return [v.symbol for v in variants]

    monkeypatch.setattr(examine, "ProcessPoolExecutor", lambda *_, **__: Pool())
    monkeypatch.setattr(cupy.cuda, "Device", lambda _: SimpleNamespace(compute_capability="90"))
    found = examine.table()
    assert found["cuda"]["capability"] == "90"
    assert found["cuda"]["nvrtc"] == list(cupy.cuda.nvrtc.getVersion())
    assert found["kernels"] == [v.symbol for v in VARIANTS]
    assert found["environment"]["versions"]["cupy"] == cupy.__version__


def test_a_launch_that_fills_a_gpu_is_made_of_few_matrices() -> None:
    given = examine.matrices(5, 200)
    assert (given.a.shape, given.w.shape, given.v.shape) == ((200, 5, 5), (200, 5), (200, 5, 5))
    assert (given.a[64:128] == given.a[:64]).all()
    assert not (given.a[1:64] == given.a[:63]).all()


def test_it_is_imported_by_nobody() -> None:
    """It is a program: a user's import pays nothing for it."""
    package = Path(examine.__file__).parent.parent
    for path in package.rglob("*.py"):
        assert "kernels.examine" not in path.read_text() or path == Path(examine.__file__)
        assert "import examine" not in path.read_text()
