"""Rotating inputs: the same matrices in other places, and the way back."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import mssbench
from mssbench import arrays
from mssbench.measure.inputs import Rotation
from mssbench.testing.matrices import cotangent, error, exact_root, spectrum, with_spectrum


@pytest.mark.parametrize("put", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 3), (16, 8)])
def test_every_input_is_the_batch_moved_and_comes_back_bit_by_bit(put, shape):
    b, n = shape
    a = put(with_spectrum(spectrum("condition_100", n), batch=b))
    g = put(cotangent((b, n, n)))
    rotation = Rotation(a, g, seed=3)
    assert len(rotation.all) == 8
    for x in rotation.all:
        scales = 1.0 if x.powers is None else 4.0 ** x.powers[:, None, None]
        assert (np.asarray(x.restore(x.a)) == np.asarray(a) * scales).all()
        assert (np.asarray(x.restore(x.g)) == np.asarray(g)).all()
        assert np.asarray(x.a).flags.c_contiguous
        y = mssbench.sqrtm(x.a)
        assert error(x.restore_root("sqrt")(y), exact_root(np.asarray(a), "sqrt")) < 1e-13
    most = 7 if b * n == 1 else 8  # a number has no permutation, and 4^k for k up to 3
    assert len({np.asarray(x.a).tobytes() for x in rotation.all}) == most


def test_the_order_is_the_same_for_every_method_and_no_input_comes_twice_running():
    a = torch.tensor(with_spectrum(spectrum("near_one", 4), batch=6))
    one, other = Rotation(a, a, 5), Rotation(a, a, 5)
    taken = [one.next() for _ in range(20)]
    assert all(torch.equal(x.a, other.next().a) for x in taken)
    assert all(x is not y for x, y in pairwise(taken))
    assert all(x is not one.first for x in taken)
    assert len({id(x) for x in taken}) == 7
    fresh = one.fresh()
    assert torch.equal(fresh.a, a)
    assert fresh.a.data_ptr() != a.data_ptr()
    assert not torch.equal(Rotation(a, a, 6).all[1].a, one.all[1].a)


def test_large_batches_have_three_inputs_at_least(monkeypatch):
    monkeypatch.setattr("mssbench.measure.inputs._MOST_BYTES", 0)
    small = torch.zeros(2, 4, 4)
    assert len(Rotation(small, small, 0).all) == 3  # two that take turns, and the first


@pytest.mark.parametrize("put", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_a_single_matrix_takes_its_turn_with_other_rows_each_time(put):
    """There is no other place in the batch: only the order of its rows and columns can differ."""
    a = with_spectrum(spectrum("condition_100", 8), batch=1)
    rotation = Rotation(put(a), put(cotangent((1, 8, 8))), seed=3)
    moved = [np.asarray(x.a) for x in rotation.all]
    assert len({x.tobytes() for x in moved}) == 8
    for x in moved[1:]:
        assert sorted(x[0].diagonal()) == sorted(a[0].diagonal())
        assert np.linalg.eigvalsh(x) == pytest.approx(np.linalg.eigvalsh(a), rel=1e-12)
    assert len({np.asarray(x.g).tobytes() for x in rotation.all}) == 8


@pytest.mark.parametrize("put", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("most_bytes", [0, 2**28], ids=["large", "small"])
def test_a_number_that_was_written_into_any_of_the_inputs_is_noticed(put, most_bytes, monkeypatch):
    """A large batch has fewer inputs, and each of them is looked at."""
    monkeypatch.setattr("mssbench.measure.inputs._MOST_BYTES", most_bytes)
    rng = np.random.default_rng(0)
    rotation = Rotation(put(rng.random((3, 4, 4))), put(rng.random((3, 4, 4))), seed=1)
    assert len(rotation.all) == (8 if most_bytes else 3)
    assert rotation.written() == ""
    for x in rotation.all:
        for array, name in ((x.a, "input"), (x.g, "cotangent")):
            before = float(array[2, 1, 3])
            array[2, 1, 3] = np.nextafter(before, 2)
            assert rotation.written() == name
            array[2, 1, 3] = np.nan
            assert rotation.written() == name
            array[2, 1, 3] = before
            assert rotation.written() == ""


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 3, 3), (3, 5, 5), (3, 5, 1)])
def test_the_sums_of_bits_change_with_one_bit_of_any_entry(dtype, shape):
    """A NaN that was there before is no change; a minus in front of a zero is one."""

    def same(x, y) -> bool:
        return bool((arrays.bit_sums(x) == arrays.bit_sums(y)).all())

    a = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    a[0, 0, 0], a[0, 1, 0] = np.nan, 0.0
    for make in (np.copy, torch.tensor, lambda x: torch.tensor(x.swapaxes(1, 2).copy()).mT):
        assert same(make(a), make(a))
        for place in np.ndindex(shape):
            b = a.copy()
            b[place] = np.nextafter(b[place], a.dtype.type(np.inf)) if b[place] == b[place] else 1.0
            assert not same(make(a), make(b))
        b = a.copy()
        b[0, 1, 0] = -0.0
        assert not same(make(a), make(b))
