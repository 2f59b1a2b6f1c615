"""Clocks, counters and watches. None of them knows what a cell is."""
