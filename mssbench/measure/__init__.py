"""Measure one cell (methods, problem, size, ...): inputs, verification, times, memory, counts."""
