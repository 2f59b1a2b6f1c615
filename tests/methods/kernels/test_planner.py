"""Which kernel serves what, and the launch through CuPy, with a CuPy that only takes notes."""

import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mssbench.errors import NotInstalled, Unsupported
from mssbench.methods.kernels import driver, fused
from mssbench.methods.kernels.factors import of_roots
from mssbench.methods.kernels.planner import LIMITS, Launch, blocks_at_once, plan
from mssbench.methods.kernels.source import source
from mssbench.methods.kernels.variants import VARIANTS, Variant
from mssbench.methods.method import Root
from mssbench.methods.minimax import taylor

H200 = LIMITS["sm_90"]
FAMILIES = ("iterate", "lyapunov", "jacobi", "loewner")
BY_FMA = [v for v in VARIANTS if not v.operands]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_size_is_served_by_the_smallest_that_holds_it(family: Any, dtype: str) -> None:
    largest = max(v.size for v in BY_FMA if (v.family, v.dtype) == (family, dtype))
    for n in range(1, largest + 1):
        found = plan(family, n, 1000, dtype, H200).variant
        assert found.size >= n
        smaller = [
            v
            for v in BY_FMA
            if (v.family, v.dtype) == (family, dtype)
            and n <= v.size < found.size
            and v.shared_bytes <= H200.shared_per_block
        ]
        assert not smaller
    with pytest.raises(Unsupported, match=f"n <= {largest}: n is {largest + 1}"):
        plan(family, largest + 1, 1, dtype, H200)


def test_the_promised_sizes_are_there() -> None:
    assert plan("iterate", 128, 1, "float32", H200).variant.size == 128
    assert plan("iterate", 88, 1, "float64", H200).variant.size == 88
    assert plan("iterate", 128, 1, "float32", H200, operands="tf32x3").variant.size == 128
    assert plan("jacobi", 64, 1, "float64", H200).variant.size == 64


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.symbol)
def test_every_variant_can_be_launched_somewhere(variant: Variant) -> None:
    assert variant.threads <= 1024
    assert variant.shared_bytes <= H200.shared_per_block
    if variant.family != "jacobi":
        lanes = 32 if variant.operands else 1
        assert variant.size % variant.tile == 0
        assert lanes * (variant.size // variant.tile) ** 2 <= variant.matrix_threads
        assert variant.threads % lanes == 0
    assert source(variant).count(f"mss_{variant.family}_##name") == 1
    assert variant.declaration in source(variant)
    assert "#include" not in source(variant)
    assert len({v.symbol for v in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize(
    ("batch", "blocks"), [(1, 1), (8, 1), (9, 2), (65_536, 8192), (1_000_000, 125_000)]
)
def test_batches_of_any_size(batch: int, blocks: int) -> None:
    assert plan("iterate", 8, batch, "float32", H200).blocks == blocks


def test_many_matrices_are_served_otherwise_than_few() -> None:
    device = limits_of(132)
    few, many = (plan("iterate", 64, b, "float32", device).variant for b in (100, 10_000))
    assert (few.per_block, many.per_block) == (1, 4)


def limits_of(processors: int) -> Any:
    from dataclasses import replace

    return replace(H200, processors=processors)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dtype": "bfloat16"}, "not in bfloat16"),
        ({"terms": 4}, "degree 7"),
        ({"steps": 33}, "the schedule has 33"),
        ({"steps": 0}, "1 to 32"),
        ({"n": 120, "terms": 5}, "n <= 96"),
        ({"family": "lyapunov", "terms": 5}, "degree 3 and 5"),
        ({"n": 128, "limits": LIMITS["sm_86"]}, "has 99"),
        ({"n": 1, "batch": 2**31}, "at most 2147483647 matrices, not 2147483648"),
    ],
)
def test_what_none_serves_is_refused_with_the_reason(given: dict[str, Any], why: str) -> None:
    usual = {"family": "iterate", "n": 32, "batch": 4, "dtype": "float32", "limits": H200}
    with pytest.raises(Unsupported, match=why):
        plan(**(usual | given))


def test_what_limits_the_blocks_of_a_processor() -> None:
    variant = plan("iterate", 32, 10_000, "float32", H200).variant
    assert blocks_at_once(variant, 71, H200) == 3
    assert blocks_at_once(variant, 255, H200) == 0 + 65536 // (255 // 8 * 8 * 32 * 9 + 8 * 32 * 9)
    assert blocks_at_once(variant, 32, LIMITS["sm_75"]) == 1


# The launch.


class FakeCupy(ModuleType):
    """Takes notes of what it is asked to do."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.notes: list[Any] = []
        self.current = 0  # device
        known = {
            "sharedMemPerBlockOptin": 232448,
            "sharedMemPerMultiprocessor": 233472,
            "maxThreadsPerMultiProcessor": 2048,
            "regsPerMultiprocessor": 65536,
            "multiProcessorCount": 132,
            "major": 9,
        }
        self.cuda = SimpleNamespace(
            Device=lambda i: self._noted("Device", i),
            runtime=SimpleNamespace(
                getDeviceProperties=lambda _: known, getDevice=lambda: self.current
            ),
        )

    def _noted(self, *what: Any) -> Any:
        self.notes.append(what)
        return nullcontext()

    def RawModule(self, code: str, options: tuple[str, ...]) -> Any:
        self.notes.append(("RawModule", options))
        return SimpleNamespace(get_function=lambda name: FakeKernel(self, name))


class FakeKernel:
    max_dynamic_shared_size_bytes = 48 * 1024

    def __init__(self, cupy: FakeCupy, name: str) -> None:
        self.cupy, self.name = cupy, name

    def __call__(
        self, grid: Any, block: Any, arguments: Any, *, shared_mem: int, stream: Any
    ) -> None:
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        address = None if stream is None else stream.ptr
        self.cupy.notes.append((self.name, grid, block, arguments, shared_mem, address))


class FakeTensor:
    """A torch tensor that says it is on the second GPU."""

    is_cuda = True
    device = SimpleNamespace(index=1)
    __module__ = "torch"

    def data_ptr(self) -> int:
        return 4096


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """By device, the address of torch's current stream."""
    import torch

    current = {0: 76, 1: 77}
    # a torch for CPUs has no such function
    name = "_cuda_getCurrentRawStream"
    monkeypatch.setattr(torch._C, name, lambda device: current[device], raising=False)
    return current


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch, streams: dict[int, int]) -> FakeCupy:
    found = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", found)
    return found


def test_a_launch_takes_the_device_and_the_stream_of_torch(cupy: FakeCupy) -> None:
    a = FakeTensor()
    found = driver.driver_of(a)
    assert found is driver.driver_of(a)  # and asks for nothing twice
    launch = plan("iterate", 64, 3, "float32", found.limits)
    schedule = fused.packed((taylor(3),), "trace", "float32").values
    found.launch(launch, [a, None, a], [schedule, np.int32(64)])
    name, grid, block, arguments, shared, stream = cupy.notes[-1]
    assert (name, grid, block) == ("mss_iterate_f32_n64", (3,), (272,))
    assert arguments == (4096, None, 4096, schedule, np.int32(64))
    assert shared == launch.shared_bytes > 48 * 1024
    assert stream == 77
    assert cupy.notes[-2] == ("Device", 1)  # of this launch, and not of the compilation
    compiled = sum(note[0] == "RawModule" for note in cupy.notes)
    found.launch(launch, [a, None, a], [schedule, np.int32(64)])
    assert sum(note[0] == "RawModule" for note in cupy.notes) == compiled == 1
    cupy.current = 1
    before = len(cupy.notes)
    found.launch(launch, [a, None, a], [schedule, np.int32(64)])
    assert len(cupy.notes) == before + 1  # on the device of the moment nothing is switched


def test_another_stream_of_torch_is_another_stream(cupy: FakeCupy, streams: dict[int, int]) -> None:
    a = FakeTensor()
    found = driver.driver_of(a)
    launch = plan("iterate", 8, 3, "float32", found.limits)
    seen = []
    for address in (77, 0, 78, 77):
        streams[1] = address
        found.launch(launch, [a, a, None], [])
        seen.append(cupy.notes[-1][-1])
    assert seen == [77, 0, 78, 77]


def test_a_launch_costs_few_calls_of_python(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel of a few microseconds is not worth having behind a slow launch."""
    import torch

    found = driver.driver_of(FakeTensor())
    monkeypatch.setattr(fused, "driver_of", lambda _: found)
    a = torch.eye(8).expand(4, 8, 8)

    def launch() -> None:
        fused.iterate(a, of_roots(5, 4, 1, 2.0**-24, 8), "trace", frozenset(("sqrt",)))

    launch()
    calls = []
    sys.setprofile(lambda _, event, what: calls.append(event) if event.endswith("call") else None)
    launch()
    sys.setprofile(None)
    assert 20 < len(calls) < 60


@pytest.mark.parametrize(("major", "there"), [(7, False), (8, True), (9, True)])
def test_what_a_device_says_of_itself(cupy: FakeCupy, major: int, there: bool) -> None:
    known = cupy.cuda.runtime.getDeviceProperties(0)
    monkeyed = {**known, "major": major, "multiProcessorCount": 80}
    cupy.cuda.runtime.getDeviceProperties = lambda _: monkeyed
    limits = driver.driver_of(FakeTensor()).limits
    assert limits.tensor_cores is there
    assert limits.processors == 80
    assert limits.shared_per_block == 232448


def test_cupys_own_arrays_go_as_they_are_on_its_own_stream(cupy: FakeCupy) -> None:
    class ndarray:
        __module__ = "cupy"
        device = SimpleNamespace(id=1)

    a = ndarray()
    found = driver.driver_of(a)
    found.launch(plan("iterate", 8, 3, "float32", found.limits), [a, a, None], [])
    assert cupy.notes[-1][3] == (a, a, None)
    assert cupy.notes[-1][-1] is None


def test_arrays_on_a_cpu_are_refused() -> None:
    import torch

    for a in (np.eye(3)[None], torch.eye(3)[None]):
        with pytest.raises(Unsupported, match="on a CPU"):
            fused.iterate(a, [taylor(3)], "trace", frozenset(("sqrt",)))


def test_without_cupy_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(NotInstalled, match=r"pip install 'mssbench\[cuda13\]'"):
        driver.driver_of(FakeTensor())


def test_a_schedule_lies_in_memory_as_the_kernel_reads_it() -> None:
    """struct Schedule: two ints, 32 ints, 32 rows of five numbers."""
    for dtype, size in (("float32", 4), ("float64", 8)):
        found = fused.packed(((1.5, -0.5), (3.0, -3.0, 1.0)), "min_ws_minc", dtype).values
        raw = found.tobytes()
        assert len(raw) == 4 * 34 + size * 160
        assert np.frombuffer(raw, "i4", 5).tolist() == [2, 2, 2, 3, 0]
        numbers = np.frombuffer(raw, dtype, 160, offset=4 * 34).reshape(32, 5)
        assert numbers[1].tolist() == [3.0, -3.0, 1.0, 0.0, 0.0]
    with pytest.raises(Unsupported, match="frobenius"):
        fused.packed((taylor(3),), "power", "float32")
    with pytest.raises(Unsupported, match="32 steps"):
        fused.packed((taylor(3),) * 33, "trace", "float32")


def test_a_gradient_needs_the_roots_of_its_equation() -> None:
    g = np.eye(2)[None]
    with pytest.raises(Unsupported, match="gradient of isqrt"):
        fused.lyapunov(Root(sqrt=g), "isqrt", g, [taylor(3)])
    assert isinstance(Launch(VARIANTS[0], 1).shared_bytes, int)
