"""Sharing a batch among threads: the same numbers, every matrix once, nobody else's threads."""

import math
import os
import signal
import threading

import pytest
import torch

import mssbench
from mssbench.errors import Unsupported
from mssbench.methods import parallel, registry
from mssbench.testing.matrices import (
    cotangent,
    error,
    exact_gradient,
    exact_root,
    spectrum,
    with_spectrum,
)


@pytest.fixture
def three_threads(monkeypatch):
    """As on three cores, without telling torch: set_num_threads would change MKL for good."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    parallel._pool.cache_clear()
    yield
    parallel._pool.cache_clear()


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 7])
def test_every_matrix_is_worked_on_once_by_a_thread_of_ours(three_threads, batch):
    x = torch.arange(batch * 4.0).reshape(batch, 2, 2)
    y, trace = torch.full_like(x, torch.nan), torch.full((batch,), torch.nan)
    seen, names = [], set()

    def work(part):
        seen.extend(part[:, 0, 0].tolist())
        names.add(threading.current_thread().name)
        return [2 * part, part.diagonal(0, -2, -1).sum(-1)]

    parallel.share(work, [x], [y, trace])
    assert sorted(seen) == x[:, 0, 0].tolist()
    assert torch.equal(y, 2 * x)
    assert torch.equal(trace, x.diagonal(0, -2, -1).sum(-1))
    assert threading.current_thread().name not in names


def test_the_parts_run_at_once_with_one_thread_each(three_threads):
    meeting, seen = threading.Barrier(3, timeout=20), []

    def work(part):
        meeting.wait()
        seen.append(torch.__config__.parallel_info().split("omp_get_max_threads() : ")[1][:2])
        return [part]

    parallel.share(work, [torch.ones(3, 1, 1)], [torch.ones(3, 1, 1)])
    assert [x.strip() for x in seen] == ["1"] * 3


def test_a_forked_child_has_threads_of_its_own(three_threads):
    parallel.share(lambda x: [x], [torch.ones(3, 1, 1)], [torch.ones(3, 1, 1)])
    if (child := os.fork()) == 0:
        signal.alarm(20)
        parallel.share(lambda x: [x], [torch.ones(3, 1, 1)], [torch.ones(3, 1, 1)])
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_an_error_in_a_thread_is_an_error_of_the_call(three_threads):
    def work(part):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        parallel.share(work, [torch.ones(3, 1, 1)], [torch.ones(3, 1, 1)])


def test_how_many_share():
    a = torch.ones(2, 3, 4, 4)
    assert parallel.threads(a) == min(torch.get_num_threads(), 6)
    assert parallel.threads(a[0, 0]) == 1
    assert parallel.threads(a.requires_grad_()) == 1
    with torch.no_grad():
        assert parallel.threads(a) == min(torch.get_num_threads(), 6)
    with pytest.raises(Unsupported, match=r"^only the cores of a CPU share a batch.*meta"):
        parallel.threads(torch.empty(2, 2, 2, device="meta"))


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
@pytest.mark.parametrize("shape", [(5,), (2, 2), (1,), ()])
def test_root_and_gradient_of_any_batch_and_cotangent(three_threads, function, shape):
    a = torch.tensor(with_spectrum(spectrum("condition_100", 6), batch=math.prod(shape)))
    a = a.reshape(*shape, 6, 6)
    flat = a.numpy().reshape(-1, 6, 6)
    g = torch.tensor(cotangent(flat.shape)).reshape(a.shape)
    g = g + torch.randn(6, 6, dtype=g.dtype).tril(-1)  # what a loss may well give: not symmetric
    a.requires_grad_()
    root = {"sqrt": mssbench.sqrtm, "isqrt": mssbench.isqrtm}[function]
    y = root(a, forward="eigh_parallel", backward="loewner_parallel")
    (s,) = torch.autograd.grad(y, a, g)
    symmetric = ((g + g.mT) / 2).numpy().reshape(-1, 6, 6)
    assert error(y.detach().reshape(-1, 6, 6), exact_root(flat, function)) < 1e-13
    assert error(s.reshape(-1, 6, 6), exact_gradient(flat, symmetric, function)) < 1e-11


def test_where_there_are_no_cores_to_share_it_is_an_error_that_says_so():
    method = registry.lookup("forward", "eigh_parallel")
    with pytest.raises(Unsupported, match="only the cores of a CPU"):
        method.call(torch.empty(2, 2, 2, device="meta"), frozenset(["sqrt"]))


def test_the_calling_thread_keeps_its_threads():
    before = torch.get_num_threads(), torch.__config__.parallel_info()
    mssbench.sqrtm(torch.eye(8).repeat(9, 1, 1), forward="eigh_parallel")
    assert (torch.get_num_threads(), torch.__config__.parallel_info()) == before
