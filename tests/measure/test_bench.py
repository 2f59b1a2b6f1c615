"""Which clock can time what, and what an error on one of them leaves of the others' rows."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from helpers.truths import truth_of

from mssbench import arrays
from mssbench.errors import Unsupported
from mssbench.measure import bench, launch_counts, timers
from mssbench.measure.bench import Bench
from mssbench.measure.checker import Checker
from mssbench.measure.inputs import Rotation
from mssbench.measure.instruments import ceilings, gemm
from mssbench.measure.instruments.clocks import MOST_QUEUED, CaptureFailed
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.measure import measure
from mssbench.measure.phases import Calls, First, Phase, calls
from mssbench.measure.prepared import Prepared
from mssbench.measure.session import Session, Settings
from mssbench.measure.timers import Timers, most_calls
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.methods.method import Root
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.policy import Policy
from mssbench.records.timing import Timing
from mssbench.testing.matrices import spectrum, with_spectrum

CELL = Cell(
    library="torch",
    forward="newton_schulz",
    backward="none",
    function="sqrt",
    problem="wishart(ratio=4)",
    size=4,
    batch=8,
    iterations=8,
    backward_iterations=None,
    options="norm=frobenius",
    precision="float64",
    device="cpu",
    seed=0,
)
FAST = Session(Settings(Policy(min_seconds=0, min_samples=1, max_seconds=0.05, warmup_seconds=0)))


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> tuple[Bench, Phase]:
    """A bench as if its device were a GPU with a cache of a MiB, on which no call waits."""
    torch = pytest.importorskip("torch")
    a = torch.tensor(with_spectrum(spectrum("near_one", 4), batch=8))
    pair = roots.pair("sqrt", "newton_schulz", None)
    truth = truth_of("sqrt", "wishart(ratio=4)", 4, 8, "float64")
    ready = Prepared(replace(CELL, device="cuda"), pair, Rotation(a, a, 0), truth)
    found = Bench(ready, Session(FAST.settings), Spent())
    for module in (bench, timers):
        monkeypatch.setattr(module, "l2_bytes", lambda: 2**20)
    monkeypatch.setattr(Timers, "waits", lambda *_: False)
    monkeypatch.setattr(Timers, "_device_seconds", lambda *_: 1e-3)
    for name in ("CudaClock", "GraphClock"):
        monkeypatch.setattr(timers, name, lambda *_, **__: "a clock")
    monkeypatch.setattr(timers, "flush", lambda: None)
    return found, Phase("forward", calls(pair, "torch", "forward"), First(1e-3, {}), {})


def test_every_clock_times_what_it_can(on_gpu: Any) -> None:
    on, phase = on_gpu
    for clock, cache in (("gpu", "hot"), ("gpu", "cold"), ("graph", "hot")):
        assert on._timers.timer(phase, clock, cache) == "a clock"


def test_what_exceeds_the_cache_is_never_hot(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on, phase = on_gpu
    monkeypatch.setattr(timers, "l2_bytes", lambda: 1000)
    with pytest.raises(Unsupported, match=r"2\.00 KiB, more than the device's cache of 1000 B"):
        on._timers.timer(phase, "gpu", "hot")
    assert on._timers.timer(phase, "gpu", "cold") == "a clock"


def test_a_hot_row_takes_turns_among_what_the_cache_holds(on_gpu: Any) -> None:
    on, _ = on_gpu
    size = on.rotation.first.a.nbytes
    for cache, count in ((2**20, 7), (6 * size, 2), (size, 1)):
        on.rotation.begin()
        turn = on.rotation.fitting(cache)
        seen = [id(on.rotation.next(turn)) for _ in range(30)]
        assert len({*seen}) == count
        assert id(on.rotation.first) not in seen


def test_a_cold_call_must_be_long_enough_on_the_device(
    on_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first call, with all that it loads, says nothing of that."""
    on, phase = on_gpu
    monkeypatch.setattr(Timers, "_device_seconds", lambda *_: 5e-6)
    with pytest.raises(Unsupported, match="too short"):
        on._timers.timer(phase._replace(first=First(1.0, {})), "gpu", "cold")


def test_what_waits_is_never_captured(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on, phase = on_gpu
    monkeypatch.setattr(Timers, "waits", lambda *_: True)
    with pytest.raises(Unsupported, match="waits for the device"):
        on._timers.timer(phase, "graph", "hot")


@pytest.mark.parametrize(
    ("error", "status", "spoilt"),
    [
        (RuntimeError("CUDA out of memory"), Status.OOM, False),
        (ValueError("odd"), Status.CRASHED, False),
        (CaptureFailed("cannot be captured"), Status.UNSUPPORTED, True),
    ],
)
def test_an_error_on_one_clock_is_a_row_of_it_alone(
    on_gpu: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: Status, spoilt: bool
) -> None:
    on, phase = on_gpu

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(Bench, "_timed", fails)
    row = on._row(phase, "gpu", "hot")
    assert (row.status, row.clock, on.spoilt) == (status, "gpu", spoilt)
    with pytest.raises(type(error)):  # what a caller waits for is what the cell is about
        on._row(phase, "wall", "hot")


@pytest.mark.parametrize(
    ("name", "work", "clock", "cache", "most"),
    [
        ("forward", {"operators": 1}, "wall", "hot", 10_000),
        ("forward", {"operators": 1}, "gpu", "cold", 1),
        ("forward", {"operators": 1}, "gpu", "hot", MOST_QUEUED),
        ("forward", {"operators": 100}, "gpu", "hot", MOST_QUEUED // 100),
        ("forward", {"operators": 3000}, "gpu", "hot", 1),
        ("forward", {"operators": None}, "gpu", "hot", MOST_QUEUED),  # CuPy's are not seen
        ("forward", {"operators": 100}, "graph", "hot", MOST_QUEUED),
        ("backward", {"operators": 1, "saved_bytes": 2**27}, "wall", "hot", 2),
        ("backward", {"operators": 1, "saved_bytes": 2**30}, "gpu", "hot", 1),
        ("backward", {"operators": 1, "saved_bytes": None}, "wall", "hot", 1000),
    ],
)
def test_a_sample_has_no_more_calls_than_can_be_queued_and_prepared(
    name: str, work: Any, clock: str, cache: str, most: int
) -> None:
    phase = Phase(name, calls(cast("Any", None), "numpy", "step"), First(1.0, {}), work)
    assert most_calls(phase, clock, cache) == most


@pytest.mark.parametrize(
    ("flags", "late", "attempts", "found"),
    [
        ([], 0.0, 1, []),
        ([], 0.05, 1, []),
        ([], 0.5, 3, ["queue_gap", "remeasured"]),
        ([], 1.0, 1, ["queue_gap"]),  # more launches than a driver queues: so in every attempt
        (["throttled"], 1.0, 3, ["throttled", "queue_gap", "remeasured"]),
        (["unwatched"], 0.0, 1, ["unwatched"]),
    ],
)
def test_a_row_is_measured_again_where_that_may_help(
    on_gpu: Any,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    late: float,
    attempts: int,
    found: list[str],
) -> None:
    on, phase = on_gpu
    errors = {"nonfinite": 0, "root_error": 0.0, "reference_error": 0.0, "residual": 0.0}
    work = {"operators": 3000, "saved_bytes": None}
    phase = phase._replace(first=First(1e-3, errors), work=work)
    clock, timing, taken = LateClock(late), Timing((1e-3,) * 20, 1, 1e-3), []

    def sampled(*_: Any, **__: Any) -> Timing:
        taken.append(1)
        return timing

    watch = SimpleNamespace(flags=flags, look_at_work=lambda: None)
    monkeypatch.setattr(bench, "CudaClock", LateClock)
    monkeypatch.setattr(bench, "GraphClock", NotImplementedError)  # any other type
    monkeypatch.setattr(on._session.watchman, "watched", lambda _: nullcontext(watch))
    monkeypatch.setattr(on._session.products, "seconds", lambda *_: None)
    monkeypatch.setattr(bench, "sample", sampled)
    monkeypatch.setattr(Timers, "timer", lambda *_: clock)
    monkeypatch.setattr(Checker, "errors", lambda *_, **__: errors)
    monkeypatch.setattr(Bench, "_limit", lambda *_: None)
    row = on._timed(phase, "gpu", "hot")
    assert row.values["flags"].split() == found
    assert len(taken) == attempts


class LateClock:
    """A clock of which this share of the windows was late."""

    def __init__(self, late: float) -> None:
        self.late = late

    def gaps(self, windows: int) -> float:
        assert windows == 20
        return self.late


class Chain:
    """Phases of a pair: what each part of them launches, noted by a counter of launches."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.launched, self.fails = 0, fails

    def __call__(self, launched: int) -> Calls:
        return Calls(lambda x: self._launch(1), lambda p: self._launch(launched))

    def _launch(self, count: int) -> None:
        self.launched += count

    def counted(self, call: Any, prepared: Any) -> int:
        if self.fails:
            raise self.fails
        before = self.launched
        call(prepared)
        return self.launched - before


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    found = Chain()
    monkeypatch.setattr(launch_counts, "launches", lambda *given: found.counted(*given))
    return found


def test_launches_of_a_backward_are_those_of_a_step_beyond_its_forward(
    on_gpu: Any, chain: Chain
) -> None:
    on, _ = on_gpu
    every = {"backward": chain(99), "step": chain(20)}  # 1 of them each to prepare
    every["backward"] = Calls(lambda x: chain._launch(8), every["backward"].call)
    rows = [
        Measurement(on.cell, name, "wall", "hot", Status.OK, "", {"products": 3.0})
        for name in every
    ]
    backward, step = (m.values for m in on._launched(rows, every))
    assert step == {"products": 3.0, "launches": 20}
    assert backward["launches"] == 1 + 20 - 8
    chain.launched = 1000
    assert on._launched(rows, {})[0].values == backward  # known from the first pass


@pytest.mark.parametrize(
    ("error", "spoilt"),
    [(CaptureFailed("x"), True), (OSError("libcuda.so.1"), False), (TypeError("old torch"), False)],
)
def test_a_count_that_fails_costs_no_row_its_time(
    on_gpu: Any, chain: Chain, error: Exception, spoilt: bool
) -> None:
    on, _ = on_gpu
    chain.fails = error
    timed = Measurement(on.cell, "forward", "wall", "hot", Status.OK)
    (row,) = on._launched([timed], {"forward": chain(1)})
    assert row.values == {"launches": None}
    assert on.spoilt is spoilt


@pytest.mark.parametrize("why", ["waits", "spoilt"])
def test_what_cannot_be_captured_is_not_tried(
    on_gpu: Any, chain: Chain, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    on, _ = on_gpu
    on.spoilt = why == "spoilt"
    monkeypatch.setattr(Timers, "waits", lambda *_: why == "waits")
    timed = Measurement(on.cell, "forward", "wall", "hot", Status.OK)
    (row,) = on._launched([timed], {"forward": chain(1)})
    assert (row.values, chain.launched) == ({"launches": None}, 0)


def test_the_first_call_of_a_step_has_the_compilation_of_both(
    register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, now = [], [0.0]
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    @register["forward"](cite="a test, 2026", products=lambda: 10.0, yields=("sqrt", "eigen"))
    def compiling(a: Any, wanted: Any) -> Root:
        if not compiled:
            compiled.append(a)
            now[0] += 60
        return cast("Root", registry.lookup("forward", "eigh").call(a, wanted))

    cell = replace(CELL, forward="compiling", backward="loewner", iterations=None, options="")
    backward, step = measure(cell, FAST).measurements
    assert (backward.phase, step.phase) == ("backward", "step")
    assert (backward.timing.first_call, step.timing.first_call) == (0, 60)


def test_a_machine_without_memory_for_ceilings_measures_cells_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(ceilings, "_measured", exhausted)
    monkeypatch.setattr(gemm, "_product_seconds", exhausted)
    session = Session(FAST.settings)
    assert session.ceilings.measure("cpu") == {}
    (row,) = (m.row() for m in measure(CELL, session).measurements)
    assert row["status"] == "ok"
    assert row["gemms"] is row["limit_seconds"] is None


def test_ceilings_take_a_part_of_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ceilings.Ceilings()
    whole = known.measure("cpu")
    assert whole.keys() == {"float32", "bytes_per_second", "calls_per_second"}
    monkeypatch.setattr(ceilings, "_free", lambda _: 2**20)
    small = known.measure("cpu")
    assert small.keys() == whole.keys()
    assert 0 < small["float32"] < 10 * whole["float32"]


@pytest.mark.slow
def test_the_error_of_a_singular_matrix_is_that_of_the_first_call() -> None:
    """What rounding makes of its null directions differs with the order of rows, by powers of ten.

    The last call is the one that time allows: its error would be another in every run.
    """
    cell = replace(
        CELL,
        forward="eigh",
        backward="loewner",
        options="",
        iterations=None,
        size=16,
        batch=64,
        problem="convfeat(positions=49)",
        precision="float32",
    )
    found = set()
    for count in range(1, 8):  # as many as inputs take turns
        policy = Policy(min_seconds=0, min_samples=count, max_samples=count, warmup_seconds=0)
        rows = [m.row() for m in measure(cell, Session(Settings(policy))).measurements]
        assert {row["condition"] for row in rows} == {None}
        found |= {(row["phase"], row["root_error"], row["gradient_error"]) for row in rows}
    assert len(found) == 2  # backward and step


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_memory_that_a_first_call_may_be_given_again_is_poisoned_before_each_phase(
    register: Any, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """Else a method that computes nothing could find an old answer in what it allocates."""
    happened: list[str] = []
    poison = arrays.poison

    def poisons(a: Any) -> None:
        happened.append(f"poison {tuple(a.shape)} {arrays.dtype_name(a)}")
        poison(a)

    right = registry.lookup("forward", "eigh").call

    @register["forward"](cite="a test, 2026", products=lambda: 1.0, yields=("sqrt", "eigen"))
    def noting(a: Any, wanted: Any) -> Root:
        happened.append("call")
        return cast("Root", right(a, wanted))

    monkeypatch.setattr(arrays, "poison", poisons)
    cell = replace(
        CELL, library=library, forward="noting", backward="loewner", options="", iterations=None
    )
    assert {m.status for m in measure(cell, FAST).measurements} == {Status.OK}
    assert happened[0] == happened[2] == "poison (8, 4, 4) float64"
    assert happened[1] == happened[3] == "call"
    assert happened.count(happened[0]) == 2  # of the step, then of the backward


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_poison_fills_a_block_of_the_size_of_an_array_with_nan(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    xp = pytest.importorskip(library)
    a, made = xp.ones((2, 3, 3)), []
    full = xp.full_like
    monkeypatch.setattr(xp, "full_like", lambda *x: made.append(full(*x)) or made[-1])
    arrays.poison(a)
    (block,) = made
    assert block.shape == a.shape
    assert block.dtype == a.dtype
    assert xp.isnan(block).all()
    assert (a == 1).all()


def test_a_last_output_counts_where_it_is_worse_by_more_than_rounding(on_gpu: Any) -> None:
    """Eight times the first; of an error also what a stable method may have, up to a limit."""
    on, _ = on_gpu
    nan = float("nan")
    cases = [
        (1e-3, 7.9e-3, "first"),
        (1e-3, 8.1e-3, "last"),
        (1e-3, nan, "last"),
        (0.0, 1e-300, "last"),
        (5.0, 0.0, "first"),
    ]
    for first, last, counts in cases:
        found = on._checker.worse("root_mae", first, last)
        assert found is (first if counts == "first" else last), (first, last)
    assert on._checker.worse("root_mae", None, 1.0) is None
    assert on._checker.worse("root_mae", nan, 1.0) is nan  # nothing is worse
    own = 4 * 2.0**-53 * on.truth.condition**0.5
    assert 0 < own < on._settings.max_error / 2
    assert on._checker.worse("root_error", 0.0, 0.99 * own) == 0.0
    assert on._checker.worse("root_error", 0.0, 1.01 * own) == 1.01 * own
    on._checker.truth = replace(on._checker.truth, condition=float("nan"))  # a singular one
    on._checker.max_error = 1e-9
    assert on._checker.worse("root_error", 0.0, 0.49e-9) == 0.0
    assert on._checker.worse("root_error", 0.0, 0.51e-9) == 0.51e-9


@pytest.mark.parametrize(
    ("size", "batch", "count"), [(4, 3, 3), (4, 17, 16), (32, 17, 16), (33, 9, 8)]
)
def test_as_many_matrices_are_checked_as_their_size_allows(
    size: int, batch: int, count: int
) -> None:
    found = truth_of("sqrt", "identity", size, batch, "float64")
    assert len({*found.indices}) == len(found.a) == len(found.gradient) == count
