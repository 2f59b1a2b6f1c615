"""`.ci/race.py` with the emulation as the GPU: what it prints, keeps and puts back."""

import csv
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.emulated import Emulation
from helpers.root import ROOT

from mssbench.errors import Unsupported
from mssbench.measure.instruments import ceilings
from mssbench.methods.kernels import driver, effort, fused, planner, variants
from mssbench.methods.kernels.planner import LIMITS
from mssbench.methods.kernels.variants import VARIANTS, Variant

SMALLEST = r"_(iterate|lyapunov|jacobi|loewner)_f32_n8$"
CEILING = 1e12


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script as a module, on a machine of which the ceiling is known."""
    path = ROOT / ".ci" / "race.py"
    spec = importlib.util.spec_from_file_location("race", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "race", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(ceilings.Ceilings, "measure", lambda *_: {"float32": CEILING})
    monkeypatch.setattr(ceilings, "fastest", once)
    return module


def once(clock: Any, call: Any, calls: int) -> float:
    """A launch that takes two microseconds."""
    call()
    return 2e-6


def named(*symbols: str) -> list[Variant]:
    return [v for v in VARIANTS if v.symbol.removeprefix("mss_") in symbols]


def test_each_kernel_is_launched_and_its_rate_is_that_of_its_work(
    race: Any, gpu: Emulation, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "race.csv"
    assert race.main([SMALLEST, "--batch", "3", "--csv", str(path)], device="cpu") == 0
    launched = [launch.variant.symbol for launch in gpu.launches]
    assert launched == [f"mss_{f}_f32_n8" for f in ("iterate", "lyapunov", "jacobi", "loewner")]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["kernel"] for row in rows] == launched
    for row in rows:
        assert (row["batch"], row["planned"], row["failed"]) == ("3", "True", "False")
        assert float(row["microseconds"]) == pytest.approx(2.0)
    loewner = rows[-1]  # three products of each matrix
    rate = 3 * 3 * 2 * 8**3 / 2e-6
    assert float(loewner["tflops"]) == pytest.approx(rate / 1e12)
    assert float(loewner["share"]) == pytest.approx(rate / CEILING)
    text = capsys.readouterr().out.splitlines()
    assert text[0].startswith("* mss_iterate_f32_n8 ")
    assert "2.0 us" in text[0]
    assert text[-1] == "* the planner's choice for these matrices"


def test_a_kernel_that_the_planner_would_not_take_is_launched_all_the_same(
    race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = []

    class Driver:
        limits = LIMITS["sm_90"]

        def launch(self, launch: Any, *_: Any) -> None:
            launched.append(launch.variant.symbol)

    for module in (driver, fused):
        monkeypatch.setattr(module, "driver_of", lambda _: Driver())
    both = named("iterate_f32_n64", "iterate_f32_n64r8")
    rows = list(race.race(both, [4, 4096], "cpu"))
    assert launched == ["mss_iterate_f32_n64"] * 2 + ["mss_iterate_f32_n64r8"] * 2
    assert [(r.kernel, r.batch) for r in rows if r.planned] == [
        ("mss_iterate_f32_n64", 4),
        ("mss_iterate_f32_n64r8", 4096),
    ]


@pytest.mark.parametrize(
    ("error", "failed", "said"),
    [
        (Unsupported("no room"), False, "refused: no room"),
        (RuntimeError("an illegal address"), True, "FAILED: RuntimeError: an illegal address"),
    ],
)
def test_one_that_does_not_run_hides_no_other_and_nothing_stays_changed(
    race: Any,
    gpu: Emulation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    error: Exception,
    failed: bool,
    said: str,
) -> None:
    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(fused, "jacobi", fails)
    listeners = list(effort.listeners)
    assert race.main([SMALLEST, "--batch", "2"], device="cpu") == int(failed)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[2].endswith(said)
    assert lines[3].startswith("* mss_loewner")
    assert variants.VARIANTS is VARIANTS
    assert effort.listeners == listeners
    limits = gpu.limits
    assert planner.plan("jacobi", 8, 2, "float32", limits).variant is not None


def test_the_planner_forgets_what_it_chose_during_a_race(race: Any, gpu: Emulation) -> None:
    large = named("iterate_f32_n16")
    with race._only(large[0]):
        assert planner.plan("iterate", 8, 2, "float32", gpu.limits, terms=2).variant is large[0]
    assert planner.plan("iterate", 8, 2, "float32", gpu.limits, terms=2).variant.size == 8


def test_a_row_is_on_disk_before_the_next_kernel_is_launched(
    race: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, seen = tmp_path / "race.csv", []

    def rows(*_: Any) -> Iterator[Any]:
        for batch in (1, 2):
            yield race.Row("mss_a", 8, batch, planned=True, microseconds=1.0)
            seen.append(len(path.read_text().splitlines()))

    monkeypatch.setattr(race, "race", rows)
    assert race.main(["--csv", str(path)]) == 0
    assert seen == [2, 3]


def test_a_name_that_no_kernel_has_is_misuse(race: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        race.main(["nowhere"])
    assert "no kernel's name matches 'nowhere'" in capsys.readouterr().err


def test_matrices_are_as_many_as_asked_and_of_the_kernel_s_dtype(
    race: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(fused, "loewner", lambda eigen, _, g: given.extend([*eigen, g]))
    race._call(named("loewner_f64_n8")[0], 150, "cpu")()
    w, v, g = given
    assert (w.shape, v.shape, g.shape) == ((150, 8), (150, 8, 8), (150, 8, 8))
    assert {x.dtype for x in given} == {torch.float64}
    assert all(x.is_contiguous() for x in given)
