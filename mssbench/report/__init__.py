"""Figures of runs, and the HTML report that shows them together.

Both read tables only: nothing is measured here, and torch is not imported.
"""
