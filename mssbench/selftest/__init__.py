"""Self-test of the harness: whether it measures known times and notices wrong methods."""
