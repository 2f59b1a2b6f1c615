"""Self-test of the harness with known times, other timers, and methods wrong on purpose."""
