"""Suites, TOML files that say what to measure: read, expand into cells, and forecast the cost.

A cell is one combination of method, problem, size, batch, precision, device and so on.
"""
