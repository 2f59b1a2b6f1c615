"""Numbers as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssbench.records import units


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (4.22e-6, "4.22 us"),
        (13e-3, "13.0 ms"),
        (2, "2.00 s"),
        (0.0009996, "1.00 ms"),
        (9.996e-6, "10.0 us"),
        (99.96e-3, "100 ms"),
        (0.9994, "999 ms"),
        (4321, "4321 s"),
        (3e-10, "0.300 ns"),
        (0, "0 ns"),
        (None, "-"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_seconds_have_three_digits_and_the_nearest_unit(x, text):
    assert units.seconds(x) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1536, "1.50 KiB"),
        (2**20 * 1.5, "1.50 MiB"),
        (2**20 - 1, "1.00 MiB"),
        (2**45, "32.0 TiB"),
        (None, "-"),
        (math.nan, "-"),
    ],
)
def test_bytes_count_in_powers_of_two(x, text):
    assert units.size(x) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (8.4, "8 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_wait_is_told_in_the_units_of_a_clock(x, text):
    assert units.duration(x) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (1, "1.00x"),
        (1.424, "1.42x"),
        (9.999, "10.0x"),
        (1234.5, "1234x"),
        (0.444, "0.44x"),
        (0.0012, "0.0012x"),
    ],
)
def test_a_ratio_is_a_factor(x, text):
    assert units.ratio(x) == text


@pytest.mark.parametrize(
    ("x", "text"), [(3.4e-7, "3e-07"), (0, "0"), (1.2, "1e+00"), (None, "-"), (math.inf, "-")]
)
def test_an_error_has_one_digit(x, text):
    assert units.error(x) == text


@pytest.mark.parametrize(
    ("x", "text"), [(0.00123, "0.00123"), (1e-9, "1.00e-09"), (0, "0"), (1e7, "1.00e+07")]
)
def test_a_plain_number_keeps_three_digits(x, text):
    assert units.number(x) == text


def test_one_is_not_plural():
    assert [units.count(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


@given(st.floats(1e-12, 1e12))
def test_three_digits_are_within_half_of_the_last_one(x):
    text = units.digits(x)
    assert abs(float(text) - x) <= x * 0.0051
    assert "e" not in text
    assert len(text.replace(".", "").lstrip("0")) >= 3


@given(st.floats(1e-9, 1e3))
def test_a_time_reads_back_as_itself(x):
    number, unit = units.seconds(x).split()
    factor = {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[unit]
    assert float(number) * factor == pytest.approx(x, rel=0.0051)
