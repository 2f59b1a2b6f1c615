"""The harness tested here: known times, other timers, methods that are wrong on purpose."""
