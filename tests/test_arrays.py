"""Conversions of arrays."""

import warnings

import numpy as np

from mssbench import arrays


def test_a_signalling_nan_is_converted_without_a_warning() -> None:
    """Memory that nobody has written to may hold one, and a warning may be an error."""
    bits = np.full((2, 3, 3), 0x7F800001, dtype=np.uint32)  # quiet bit unset
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = arrays.to_numpy(bits.view(np.float32))
    assert converted.dtype == np.float64
    assert np.isnan(converted).all()
