"""Measure a suite into a folder: order of the cells, passes, resuming, and the final table."""
