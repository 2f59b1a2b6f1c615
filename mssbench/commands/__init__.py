"""One command, one file: what `cli` calls, and what it gets back to print."""
