"""Comparison of two result tables: the verdict on each row, and the outcome of all rows."""
