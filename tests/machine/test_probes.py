"""What the doctor measures, and each finding seen to fire and not to fire."""

import json
import subprocess
import sys
import threading
import time
from math import inf, isfinite, nan

import numpy as np
import pytest
import torch

from mssbench.cli import doctor
from mssbench.machine import devices, eigensolvers, findings, probes, threads
from mssbench.machine.eigensolvers import Cliff, Convergence, Orthonormality
from mssbench.machine.threads import Pool, Threads
from mssbench.methods import decomposition

SOLVERS = [
    pytest.param(library, device, id=f"{library}-{device}")
    for library, device in (("torch", "cpu"), ("numpy", "cpu"))
] + [
    pytest.param(library, "cuda", id=f"{library}-cuda", marks=pytest.mark.gpu)
    for library in ("torch", "cupy")
]
OF_32, OF_33 = 50e-6, 55e-6


def numbers(record):
    return [x for x in record if isinstance(x, int | float)]


def require_whole(found):
    assert list(found) == ["finding", "consequence", "remedy"]
    assert all(len(text) > 10 for text in found.values()), found
    return found


# the probes themselves


@pytest.mark.timing
def test_this_machine_is_probed_to_the_end_in_finite_numbers_and_left_as_it_was():
    before = torch.get_num_threads(), threads.threads()
    start = time.perf_counter()
    found = probes.everything([("torch", "cpu"), ("numpy", "cpu")])
    assert time.perf_counter() - start < 30  # half a second where nobody else runs
    assert found.broken == ()
    assert [len(found.cliff), len(found.convergence), len(found.orthonormality)] == [4, 4, 8]
    for record in (*found.cliff, *found.convergence, *found.orthonormality):
        assert all(map(isfinite, numbers(record))), record
    assert json.loads(json.dumps(found.plain(), allow_nan=False))["threads"]["granted"] >= 1
    for record in (r for p in found.plain().values() if isinstance(p, list) for r in p):
        assert record["library"] in ("torch", "numpy")
    assert (torch.get_num_threads(), threads.threads()) == before
    assert all(c.failed == 0 for c in found.convergence if c.precision == "float64")
    assert all(o.worst < o.bound for o in found.orthonormality)


@pytest.mark.parametrize(("library", "device"), SOLVERS)
@pytest.mark.timing
def test_a_solver_has_a_time_for_each_size(library, device):
    try:
        devices.check_library(library, device)
    except Exception as error:  # no such package or no such device
        pytest.skip(str(error))
    found = eigensolvers.cliff(library, device, "float32")
    assert 0 < found.seconds_32 < 0.1
    assert 0 < found.seconds_33 < 0.1
    assert eigensolvers.convergence(library, device, "float64").failed == 0


def slower(monkeypatch, library, n, factor):
    """`eigh` busy for `factor` times as long at size n."""
    real = library.linalg.eigh

    def eigh(a):
        start = time.thread_time()
        out = real(a)
        spent = time.thread_time() - start
        while a.shape[-1] == n and time.thread_time() - start < factor * spent:
            pass
        return out

    monkeypatch.setattr(library.linalg, "eigh", eigh)


@pytest.mark.parametrize("library", [torch, np])
def test_a_solver_that_is_slower_from_33_on_is_seen(monkeypatch, library):
    monkeypatch.setattr(eigensolvers, "_LONG", 0.02)
    monkeypatch.setattr(eigensolvers, "_LONGER", 0.05)
    name = library.__name__
    assert (
        eigensolvers.cliff(name, "cpu", "float64").ratio < 1.9
    )  # it is 1.1 to 1.2, where it is calm
    slower(monkeypatch, library, 33, 4)
    assert eigensolvers.cliff(name, "cpu", "float64").ratio > 2.5


def test_a_cliff_is_looked_at_longer_and_the_fastest_round_counts(monkeypatch):
    calls = {32: 0, 33: 0}

    def seconds(a, clock):
        time.sleep(0.001)
        calls[a.shape[-1]] += 1
        if a.shape[-1] == 32:
            return 1.0 if calls[32] == 5 else 2.0
        return 9.0 if calls[33] < 30 else 1.1

    monkeypatch.setattr(eigensolvers, "_seconds", seconds)
    monkeypatch.setattr(eigensolvers, "_LONG", 0.002)
    monkeypatch.setattr(eigensolvers, "_LONGER", 60)
    assert eigensolvers.cliff("numpy", "cpu", "float32").ratio == pytest.approx(1.1)
    assert calls == {32: 30, 33: 30}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("raised", lambda w, v: 1 / 0),
        ("nan", lambda w, v: (w * nan, v)),
        ("nan", lambda w, v: (w, v + inf)),
        ("wrong", lambda w, v: (w * 1.01, v)),
        ("wrong", lambda w, v: (w, v + 0.01)),
        (None, lambda w, v: (w, -v)),
    ],
)
@pytest.mark.parametrize("library", [torch, np])
def test_each_way_to_fail_is_counted_as_what_it_is(monkeypatch, library, kind, answer):
    real = library.linalg.eigh
    seen = []

    def eigh(a):
        seen.append(a)
        if len(seen) != 3:
            return real(a.double() if library is torch else a.astype("float64"))
        try:
            return answer(*real(a.double() if library is torch else a.astype("float64")))
        except ZeroDivisionError:
            raise library.linalg.LinAlgError("no") from None

    monkeypatch.setattr(library.linalg, "eigh", eigh)
    found = eigensolvers.convergence(library.__name__, "cpu", "float32")
    assert all(a.dtype == library.float32 and a.ndim == 2 for a in seen)
    assert (found.tried, len(seen)) == (25, 25)
    for way in ("raised", "nan", "wrong"):
        assert getattr(found, way) == (way == kind)
    assert found.failed == (kind is not None)


def test_the_pinned_matrix_is_the_first_and_all_have_dead_channels(monkeypatch):
    seen = []
    monkeypatch.setattr(eigensolvers, "_failure", lambda x, *_: seen.append(x))
    eigensolvers.convergence("torch", "cpu", "float32")
    assert [int((abs(x).sum(0) == 0).sum()) for x in seen] == [43] + 24 * [51]
    assert all((x.astype("float32") == x).all() for x in seen)


def test_what_fails_here_in_float32_is_repaired_by_mssbench_and_by_the_remedy():
    for x in [
        *eigensolvers._matrices("pinned(matrix=eigh_nonconv_64)", 64, 1),
        *eigensolvers._matrices("dead_channels(frac=0.8)", 64, 24),
    ]:
        a = torch.tensor(x, dtype=torch.float32)
        for w, v in (decomposition.eigh(a), torch.linalg.eigh(a.double())):
            w, v = w.double(), v.double()
            assert torch.linalg.norm((v * w) @ v.mT - a) < 1e-5 * torch.linalg.norm(a)


@pytest.mark.parametrize("library", [torch, np])
def test_vectors_that_are_not_orthonormal_are_seen(monkeypatch, library):
    real = library.linalg.eigh
    name = library.__name__
    for precision in eigensolvers.PRECISIONS:
        for n in (16, 64):
            found = eigensolvers.orthonormality(name, "cpu", precision, n)
            assert found.worst < found.bound / 10
    monkeypatch.setattr(library.linalg, "eigh", lambda a: (real(a)[0], real(a)[1] * 1.01))
    assert eigensolvers.orthonormality(name, "cpu", "float64", 16).worst == pytest.approx(0.0201)
    monkeypatch.setattr(library.linalg, "eigh", lambda a: (real(a)[0], real(a)[1] * nan))
    assert eigensolvers.orthonormality(name, "cpu", "float64", 16).worst is None

    def raises(a):
        raise library.linalg.LinAlgError("no")

    monkeypatch.setattr(library.linalg, "eigh", raises)
    assert eigensolvers.orthonormality(name, "cpu", "float64", 16).worst is None


def test_the_tolerance_is_50_n_units_of_roundoff():
    assert eigensolvers.tolerance(64, "float32") == 50 * 64 * 2.0**-24
    assert Orthonormality("torch", "cpu", "float64", 16, None).bound == 50 * 16 * 2.0**-53


def test_a_probe_that_breaks_breaks_no_other(monkeypatch):
    def breaks(*_):
        raise RuntimeError("CUDA error: out of patience\nand more")

    monkeypatch.setattr(probes, "convergence", breaks)
    monkeypatch.setattr(eigensolvers, "_LONG", 0.01)
    found = probes.everything([("numpy", "cpu")])
    assert [len(found.cliff), len(found.convergence), len(found.orthonormality)] == [2, 0, 4]
    (one,) = found.broken
    assert one == ("numpy", "cpu", "convergence", "RuntimeError: CUDA error: out of patience")
    said = require_whole(findings.of_broken(one))
    assert "out of patience" in said["finding"]
    assert "mssbench run quick --effort smoke --device cpu" in said["remedy"]


def test_threads_are_read_with_their_settings(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    found = threads.threads()
    assert found.settings == {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}
    assert found.pools[0] == ("torch", "torch", torch.__file__, torch.get_num_threads())
    assert {p.kind for p in found.pools} >= {"torch", "blas"}


@pytest.mark.parametrize(
    ("files", "own", "cores"),
    [
        ({}, "0::/", None),
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu.max": "250000 100000"}, "0::/", 2.5),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, "1:x:/\n0::/a/b", 4),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "150000 100000"}, "0::/a/b", 1.5),
        ({"other/cpu.max": "100000 100000"}, "0::/a/b", None),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, "9:cpu:/", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "9:cpu:/", None),
    ],
)
def test_the_quota_is_the_least_of_the_groups_around(tmp_path, files, own, cores):
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (tmp_path / "own").write_text(f"{own}\n")
    assert threads.quota(tmp_path / "root", tmp_path / "own") == cores


def test_doctor_is_imported_without_torch():
    code = (
        "import sys; from mssbench.cli import doctor\n"
        "assert not {'torch', 'scipy', 'cupy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_quota_is_taken_in_whole_cores_and_at_least_one():
    assert [Threads(8, q, (), {}).cores for q in (None, 2.5, 0.5, 64.0)] == [8, 2, 1, 8]


# what the doctor makes of them

QUIET = Threads(
    2,
    None,
    (
        Pool("torch", "torch", "/x/site-packages/torch/__init__.py", 2),
        Pool("libscipy_openblas", "blas", "/x/site-packages/numpy.libs/libscipy_openblas64_.so", 2),
        Pool("libgomp", "openmp", "/x/site-packages/torch/lib/libgomp.so.1", 2),
    ),
    {"OMP_NUM_THREADS": "2"},
)


def test_as_many_threads_as_cores_are_no_finding():
    assert list(findings.of_threads(QUIET)) == []
    odd = QUIET._replace(settings={"OMP_NUM_THREADS": "2,1", "MKL_NUM_THREADS": ""})
    assert list(findings.of_threads(odd)) == []


@pytest.mark.parametrize(
    ("changed", "finding", "remedy"),
    [
        (
            {"pools": (Pool("torch", "torch", "t", 8), *QUIET.pools[1:])},
            "torch uses 8 threads on 2 cores",
            "export OMP_NUM_THREADS=2",
        ),
        (
            {"settings": {"OMP_NUM_THREADS": "8"}},
            "OMP_NUM_THREADS=8 on 2 cores",
            "export OMP_NUM_THREADS=2",
        ),
        (
            {"settings": {"MKL_NUM_THREADS": "4", "OMP_NUM_THREADS": "2"}},
            "MKL_NUM_THREADS=4 on 2 cores",
            "export OMP_NUM_THREADS=2; unset MKL_NUM_THREADS",
        ),
        (
            {"quota": 1.5, "pools": QUIET.pools[:1], "settings": {}},
            "torch uses 2 threads on 1 core, the container's quota",
            "export OMP_NUM_THREADS=1",
        ),
        (
            {"quota": 4.0, "granted": 1, "pools": QUIET.pools[:1], "settings": {}},
            "torch uses 2 threads on 1 core",
            "export OMP_NUM_THREADS=1",
        ),
    ],
    ids=["torch", "setting", "another-setting", "quota", "quota-above-cores"],
)
def test_more_threads_than_cores_are_a_finding(changed, finding, remedy):
    (one,) = findings.of_threads(QUIET._replace(**changed))
    require_whole(one)
    assert (one["finding"], one["remedy"]) == (finding, remedy)


def test_two_openmp_runtimes_are_a_finding_with_their_owners():
    other = Pool("libgomp", "openmp", "/x/site-packages/scikit_learn.libs/libgomp-e9.so.1", 2)
    (one,) = findings.of_threads(QUIET._replace(pools=(*QUIET.pools, other)))
    assert one["finding"] == (
        "2 OpenMP runtimes in one process: libgomp of torch, libgomp of scikit_learn"
    )
    assert "crash" not in require_whole(one)["consequence"]
    assert "export OMP_WAIT_POLICY=PASSIVE" in one["remedy"]
    again = (*QUIET.pools, QUIET.pools[-1]._replace())
    assert list(findings.of_threads(QUIET._replace(pools=again))) == []


def test_two_kinds_of_openmp_can_crash():
    pools = (Pool("libiomp", "openmp", "/opt/i.so", 2), Pool("libomp", "openmp", "/opt/o.so", 2))
    (one,) = findings.of_threads(QUIET._replace(pools=pools))
    assert "libiomp (/opt/i.so), libomp (/opt/o.so)" in one["finding"]
    assert "hang or crash" in one["consequence"]


def failing(library="torch", device="cpu", precision="float32", *, raised=0, nan=0, wrong=0):
    return Convergence(library, device, precision, 25, raised, nan, wrong)


def test_failures_of_float32_are_a_finding_with_the_way_out():
    assert list(findings.of_convergence([failing(), failing(precision="float64")])) == []
    (one,) = findings.of_convergence([failing(raised=2, nan=3), failing(precision="float64")])
    assert require_whole(one)["finding"] == (
        "torch.linalg.eigh on cpu in float32 failed on 5 of 25 covariances with dead channels: "
        "2 raised an error, 3 gave NaN"
    )
    assert "mssbench's eigh retries such a matrix in float64" in one["consequence"]
    assert one["remedy"].startswith("w, v = torch.linalg.eigh(a.double())")


@pytest.mark.parametrize(
    ("found", "consequence", "remedy"),
    [
        ([failing("numpy", raised=1)], "rows are right", 'numpy.linalg.eigh(a.astype("float64"))'),
        ([failing(device="cuda", nan=1)], "marks the rest in its rows", "a.double()"),
        ([failing(device="cuda", raised=1)], "rows are right", "a.double()"),
        ([failing(wrong=1)], "marks the rest in its rows", "a.double()"),
        (
            [failing(raised=1), failing(precision="float64", nan=1)],
            "rows are right",
            "pip install --upgrade torch",
        ),
        (
            [failing("cupy", "cuda", precision="float64", nan=1)],
            "no wider precision",
            "pip install --upgrade cupy-cuda13x",
        ),
    ],
)
def test_what_mssbench_does_not_repair_is_said(found, consequence, remedy):
    one = require_whole(next(findings.of_convergence(found)))
    assert consequence in one["consequence"]
    assert remedy in one["remedy"]


def test_vectors_are_a_finding_above_what_rounding_explains():
    good = [Orthonormality("torch", "cpu", "float32", n, 2e-6) for n in (16, 64)]
    assert list(findings.of_orthonormality(good)) == []
    bad = Orthonormality("torch", "cpu", "float32", 16, 3e-2)
    (one,) = findings.of_orthonormality([*good, bad])
    assert require_whole(one)["finding"] == (
        "torch.linalg.eigh on cpu in float32, n = 16: eigenvectors are orthonormal to 3e-02 only; "
        "rounding explains 5e-05"
    )
    assert one["remedy"] == "pip install --upgrade torch, then mssbench doctor again"
    (one,) = findings.of_orthonormality([bad, Orthonormality("torch", "cuda", "float64", 64, None)])
    assert "n = 64: no finite eigenvectors" in one["finding"]
    assert "pytorch#192483" in one["remedy"]
    just = good[0].bound
    assert not list(findings.of_orthonormality([good[0]._replace(worst=just)]))
    assert list(findings.of_orthonormality([good[0]._replace(worst=just * 1.01)]))


VERSIONS = {"torch": "2.13.0+cpu"}


def test_a_cliff_is_a_finding_above_what_the_work_explains():
    smooth = Cliff("torch", "cpu", "float32", OF_32, OF_33)
    assert list(findings.of_cliff([smooth], VERSIONS)) == []
    assert list(findings.of_cliff([smooth._replace(seconds_33=1.5 * OF_32)], VERSIONS)) == []
    steep = smooth._replace(precision="float64", seconds_33=2 * OF_32)
    (one,) = findings.of_cliff([smooth, steep], VERSIONS)
    assert require_whole(one)["finding"] == (
        "torch.linalg.eigh on cpu takes more at n = 33 than at n = 32: 2.00x in float64 "
        "(50.0 us to 100 us a matrix)"
    )
    assert "--device cpu --set size=32,33" in one["remedy"]


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ("2.11.0+cu130", "pip install --upgrade 'torch>=2.12'"),
        ("2.9.1", "pip install --upgrade 'torch>=2.12'"),
        ("2.12.0", "mssbench run quick --device cuda"),
        ("3.0.0", "mssbench run quick --device cuda"),
    ],
)
def test_an_old_torch_on_a_gpu_is_to_be_upgraded(version, remedy):
    steep = Cliff("torch", "cuda", "float64", 1e-5, 1e-3)
    (one,) = findings.of_cliff([steep], {"torch": version})
    assert one["remedy"].startswith(remedy)
    (one,) = findings.of_cliff([steep._replace(library="cupy")], {"torch": version})
    assert one["remedy"].startswith("mssbench run quick --device cuda")


def test_the_judge_asks_every_probe_once_and_keeps_solvers_apart(monkeypatch):
    monkeypatch.delenv("MSSBENCH_LOCKS", raising=False)
    facts = {
        "cores": {"granted": 2, "physical": 2},
        "load": (0, 0, 0),
        "governor": None,
        "gpus": [],
        "versions": VERSIONS,
    }
    solvers = [("torch", "cpu"), ("numpy", "cpu")]

    def probed(worst, slow, raised, quota):
        each = [(*s, p) for s in solvers for p in eigensolvers.PRECISIONS]
        return probes.Probed(
            QUIET._replace(quota=quota),
            tuple(Cliff(*e, 1.0, slow) for e in each),
            tuple(Convergence(*e, 25, raised, 0, 0) for e in each),
            tuple(Orthonormality(*e, n, worst) for e in each for n in (16, 64)),
            (),
        )

    assert list(findings.judge(facts, [], probed(0.0, 1.1, 0, None))) == []
    found = list(findings.judge(facts, [], probed(1.0, 9.0, 1, 1.0)))
    assert [f["finding"].partition(" ")[0] for f in found] == [
        "torch",
        *2 * ["torch.linalg.eigh"],
        *2 * ["numpy.linalg.eigh"],
        "torch.linalg.eigh",
        "numpy.linalg.eigh",
        "torch.linalg.eigh",
        "numpy.linalg.eigh",
    ]
    for one in found:
        require_whole(one)


def test_the_doctor_shows_what_was_probed_and_a_dash_where_it_broke():
    found = {
        "cliff": [Cliff("torch", "cpu", "float32", 5e-5, 6e-5)._asdict()],
        "convergence": [failing(raised=2)._asdict(), failing(precision="float64")._asdict()],
        "orthonormality": [
            Orthonormality("torch", "cpu", "float32", n, x)._asdict()
            for n, x in ((16, 3e-7), (64, 2e-6))
        ],
    }
    one, two = (list(row.values()) for row in doctor._probe_rows(found))
    assert one == ["torch on cpu, float32", "50.0 us", "60.0 us", "2 of 25 failed", "2e-06"]
    assert two == ["torch on cpu, float64", "-", "-", "0 of 25 failed", "-"]
    found["orthonormality"][0]["worst"] = None
    assert list(next(iter(doctor._probe_rows(found))).values())[-1] == "-"


def test_probes_start_no_thread_that_stays():
    before = threading.active_count()
    eigensolvers.convergence("torch", "cpu", "float64")
    assert threading.active_count() == before
