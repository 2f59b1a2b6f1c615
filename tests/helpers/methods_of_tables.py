"""Methods that tables of the tests are made of."""

from helpers.tables import row

EIGH, SVD = {"forward": "eigh"}, {"forward": "svd"}


NS = {"forward": "newton_schulz", "iterations": 5, "options": "norm=trace"}


SMALL = [
    row(1e-3, root=1e-6, **EIGH),
    row(2e-3, root=2e-7, **SVD),
    row(5e-4, root=2e-1, status="inaccurate", **NS),
    row(2e-2, root=2e-6, size=64, **EIGH),
    row(5e-2, root=5e-7, size=64, **SVD),
    row(None, size=64, status="oom", reason="wanted 9 GiB", **NS),
]
