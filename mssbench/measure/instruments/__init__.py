"""Clocks, counters and monitors, which work on calls and devices and do not depend on cells."""
