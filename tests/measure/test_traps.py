"""Ways to a wrong number that others have gone: the naive way is shown wrong, ours right."""

import gc
from dataclasses import replace
from statistics import median

import pytest
import torch
from helpers.cells import CELL, FAST, only, rows

from mssbench.measure.instruments import ceilings
from mssbench.measure.instruments.clocks import HostClock
from mssbench.measure.instruments.sampling import sample
from mssbench.measure.roofline import limit
from mssbench.measure.session import Session, Settings
from mssbench.methods import registry
from mssbench.methods.method import Root
from mssbench.methods.registry import register_backward, register_forward
from mssbench.records.measurement import Status
from mssbench.records.policy import Policy
from mssbench.run.finish import drift, problem_fractions
from mssbench.run.passes import shuffled
from mssbench.testing.matrices import cotangent, exact_root, spectrum, with_spectrum


@pytest.fixture(autouse=True)
def restored():
    with registry.temporarily():
        yield


def forward(f):
    return register_forward(cite="a trap, 2026", products=lambda: 1.0, yields=("sqrt",))(f)


def right(a):
    return registry.lookup("forward", "eigh").call(a, frozenset(["sqrt"])).sqrt


def test_an_answer_kept_from_the_call_before_is_wrong():
    kept = []

    @forward
    def cached(a) -> Root:
        if not kept:
            kept.append(right(a))
        return Root(sqrt=kept[0])

    a = torch.tensor(with_spectrum(spectrum("near_one", 8)))
    assert torch.equal(cached(a).sqrt, cached(a).sqrt)  # naive: one input, and all is well
    assert torch.allclose(cached(a).sqrt, torch.tensor(exact_root(a.numpy(), "sqrt")))
    kept.clear()
    assert only(replace(CELL, forward="cached")).status is not Status.OK


def test_a_block_that_still_holds_the_answer_is_no_answer():
    @forward
    def lazy(a) -> Root:
        return Root(sqrt=torch.empty_like(a))  # whatever was in that memory

    cell = replace(CELL, forward="lazy", size=64, batch=4)
    for _ in range(3):
        assert only(replace(cell, forward="eigh")).status is Status.OK
        assert only(cell).status is not Status.OK


def test_a_constant_of_the_right_size_is_wrong():
    @forward
    def identity(a) -> Root:
        return Root(sqrt=torch.eye(a.shape[-1], dtype=a.dtype).expand_as(a).clone())

    wide = replace(CELL, forward="identity", problem="logspec(condition=1e4)")
    assert only(wide).status is not Status.OK


def test_a_graph_that_is_kept_hides_the_work_of_its_first_backward():
    """Retaining one graph lets a backward remember; every sample here has a graph of its own."""
    solved = []

    @register_backward(cite="a trap, 2026", products=lambda: 4.0, reads=("eigen",), only=True)
    def remembering(root, function, g):
        key = root.eigen[0].data_ptr()
        if key not in solved:
            solved.append(key)
        return registry.lookup("backward", "loewner").call(root, function, g)

    import mssbench

    a = torch.tensor(with_spectrum(spectrum("near_one", 4)), requires_grad=True)
    y = mssbench.sqrtm(a, backward="remembering")
    for _ in range(5):  # naive
        torch.autograd.grad(y, a, torch.tensor(cotangent(a.shape)), retain_graph=True)
    assert len(solved) == 1
    solved.clear()
    cell = replace(CELL, backward="remembering")
    policy = Policy(min_seconds=0, min_samples=5, max_seconds=1, warmup_seconds=0, block_seconds=0)
    found = rows(cell, Session(Settings(policy)))
    assert {m.status for m in found} == {Status.OK}
    kept = []  # so that no address comes twice

    @register_backward(cite="a trap, 2026", products=lambda: 4.0, reads=("eigen",), only=True)
    def counting(root, function, g):
        kept.append(root.eigen[0])
        return registry.lookup("backward", "loewner").call(root, function, g)

    counted = replace(CELL, backward="counting")
    timings = [m.timing for m in rows(counted, Session(Settings(policy)))]
    assert len(kept) >= sum(t.calls * len(t.samples) for t in timings)
    assert len({w.data_ptr() for w in kept}) == len(kept)  # every backward had a forward of its own


def test_a_slow_half_is_not_taken_for_outliers():
    """Dropping what lies outside 1.5 interquartile ranges would hide the slow fifth."""
    seconds = iter([1e-3, 1e-3, 1e-3, 1e-3, 9e-3] * 1000)

    class Clock:
        name = "wall"

        def block(self, call, prepared):
            return sum(next(seconds) for _ in prepared)

    policy = Policy(min_seconds=0, min_samples=50, block_seconds=0, warmup_seconds=0)
    timing = sample(Clock(), lambda: None, lambda _: None, policy, first_call=1.0)
    assert sum(s > 5e-3 for s in timing.samples) == pytest.approx(len(timing.samples) / 5, abs=1)
    assert timing.statistics()["seconds_q3"] <= 9e-3


def test_a_time_shorter_than_the_ceilings_allow_its_products_is_implausible(monkeypatch):
    """As a timer sees that stops before the work is done."""
    cell = replace(CELL, forward="minimax_hybrid", options="norm=trace schedule=9-9-ns5", size=32)
    assert only(cell, FAST).status is Status.OK
    slow = {"float64": 1.0, "bytes_per_second": 1e12, "calls_per_second": 1e9}
    monkeypatch.setattr(ceilings.Ceilings, "best", lambda *_: slow)
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    m = only(cell, FAST)
    assert m.status is Status.IMPLAUSIBLE
    assert "faster than this machine's ceilings allow" in m.reason
    assert m.row()["limit_fraction"] > 2


CEILINGS = {"float32": 1e9, "bytes_per_second": 1e9, "calls_per_second": 1e6}


_ONE = {"rounded": 0.0, "certain": 1.0, "flops": 1e6}
MILLION = replace(CELL, precision="float32", size=50, batch=4)  # a product of it is 1e6 flop


def test_the_limit_is_the_highest_of_three_and_says_which():
    work = {"rounded": 0.0, "certain": 5.0, "flops": 10e6}
    found = limit(MILLION, "forward", 1_000_000, work, CEILINGS)
    assert (found.seconds, found.bound, found.certain) == (10e-3, "compute", 5e-3)
    light = {"rounded": 0.0, "certain": 0.0, "flops": 1.0}
    found = limit(MILLION, "step", 1_000_000, light, CEILINGS)
    assert (found.seconds, found.bound, found.certain) == (4e-3, "memory", 0.0)
    found = limit(MILLION, "forward", 8, light, CEILINGS)
    assert (found.seconds, found.bound) == (1e-6, "launches")
    vector = replace(MILLION, function="isqrt_b")
    assert limit(vector, "forward", 1_000_000, light, CEILINGS).seconds == 1e-3  # A is read


def test_what_nobody_could_count_has_no_limit():
    """As no work it would be the least, and the bound of everybody else."""
    for flops in (None, 0.0):
        nothing = dict.fromkeys(_ONE, flops)
        assert limit(MILLION, "forward", 8, nothing, CEILINGS) is None
    assert limit(MILLION, "forward", 8, _ONE, {}) is None
    numpy = replace(CELL, library="numpy")
    m = only(numpy)
    assert m.row()["limit_seconds"] is m.row()["limit_fraction"] is None
    assert m.row()["bound"] == ""


def test_where_tensor_cores_round_there_is_no_limit():
    """The ceiling of float32 is none of theirs, and without them it is the bound of everybody."""
    mixed = {"rounded": 6.0, "certain": 2.0, "flops": 9e6}
    found = limit(MILLION, "forward", 8, mixed, CEILINGS)
    assert found.columns(1.0) == {"limit_seconds": None, "limit_fraction": None, "bound": ""}
    assert found.exceeded_by(0.9e-3)  # the others alone take longer
    assert not found.exceeded_by(1.1e-3)


def test_doubt_is_left_to_a_ceiling():
    found = limit(MILLION, "forward", 8, _ONE, CEILINGS)
    assert found.certain == 1e-3
    assert not found.exceeded_by(0.6e-3)  # it was measured on a machine with other work
    assert found.exceeded_by(0.4e-3)


def row(phase="forward", error=1e-6, seconds=1.0, least=0.1, status="ok", **more):
    key = dict.fromkeys(("function", "problem", "size", "batch", "precision", "device", "seed"), 0)
    name = "root_error" if phase == "forward" else "gradient_error"
    values = {"root_error": None, "gradient_error": None, name: error}
    times = {
        "seconds_median": seconds,
        "limit_seconds": least,
        "status": status,
        "phase": phase,
        "flags": "",
    }
    return key | values | times | more


def test_the_problem_s_limit_is_that_of_the_least_work_for_the_same_error():
    exact, rough = row(error=1e-7, least=0.5), row(error=1e-2, least=0.1)
    assert problem_fractions([exact, rough]) == [0.5, 0.1]
    wrong = row(error=0.5, least=0.001, status="inaccurate")
    assert problem_fractions([exact, wrong]) == [0.5, 0.5]  # it bounds nobody
    near = row(error=1.9e-7, least=0.2)
    assert problem_fractions([exact, near]) == [0.2, 0.2]  # the same error, within its doubt
    other = row(error=1e-7, least=0.01, size=9)
    assert problem_fractions([exact, other]) == [0.5, 0.01]
    assert problem_fractions([row(error=None), row(seconds=None, status="crashed")]) == [None, None]


def test_drift_is_the_largest_change_since_the_start():
    assert drift([]) is None
    assert drift([{"float32": 1.0}, {"bytes_per_second": 3.0}]) is None
    found = [{"float32": 100.0, "copy": 10.0}, {"float32": 97.0}, {"copy": 10.5}]
    assert drift(found) == pytest.approx(0.05)


def test_a_memory_of_answers_by_address_is_found():
    """New content comes to lie where other content was, and gets the answer to that one."""
    known = {}

    @forward
    def remembering(a) -> Root:
        if a.data_ptr() not in known:
            y = registry.lookup("forward", "newton_schulz").call(
                a, frozenset(["sqrt"]), iterations=20, norm="trace"
            )
            known[a.data_ptr()] = y.sqrt.clone()
        return Root(sqrt=known[a.data_ptr()])

    # samples enough that most of them come after every input was seen once, whatever a call takes
    often = Policy(min_seconds=0, min_samples=40, max_seconds=60, warmup_seconds=0, interval=1)
    (m,) = rows(replace(CELL, forward="remembering", size=64, batch=16), Session(Settings(often)))
    assert m.status in (Status.IMPLAUSIBLE, Status.INACCURATE, Status.DIVERGED)


def test_what_prepares_a_call_is_outside_the_window():
    import time

    policy = Policy(min_seconds=0, min_samples=3, block_seconds=0, warmup_seconds=0)
    timing = sample(HostClock(), lambda: time.sleep(5e-3), lambda _: None, policy, first_call=1e-6)
    assert timing.statistics()["seconds_median"] < 1e-3


def test_what_is_measured_first_does_not_win_on_a_machine_that_slows():
    """All of one, then all of the other: the second is slower. In turn and shuffled, neither is."""
    cells = [replace(CELL, forward=name, seed=seed) for seed in range(40) for name in ("a", "b")]

    def seconds(order):
        found = {"a": [], "b": []}
        for when, cell in enumerate(order):
            found[cell.forward].append(1 + 0.3 * when / len(cells))
        return median(found["b"]) / median(found["a"])

    assert seconds(sorted(cells, key=lambda c: c.forward)) > 1.1  # naive
    passes = [cell for number in (1, 2) for cell in shuffled(cells, "a run", number)]
    assert seconds(passes) == pytest.approx(1, abs=0.02)


def test_no_garbage_is_collected_inside_a_sample():
    collections = []

    def call(_):
        for _i in range(2000):
            loop = []
            loop.append(loop)

    def seen(phase, _):
        collections.append(phase)

    threshold = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python's own: commands that tests call in this process raise it
    gc.callbacks.append(seen)
    try:
        call(None)
        assert collections  # naive
        clock = HostClock()
        blocks = []

        class Clock:
            name = "wall"

            def block(self, call, prepared):
                before = len(collections)
                taken = clock.block(call, prepared)
                blocks.append(len(collections) - before)
                return taken

        policy = Policy(min_seconds=0, min_samples=5, max_seconds=1, warmup_seconds=0)
        sample(Clock(), lambda: None, call, policy, first_call=1e-3)
    finally:
        gc.callbacks.remove(seen)
        gc.set_threshold(*threshold)
    assert set(blocks) == {0}
