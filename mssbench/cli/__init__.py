"""The command line: one module for each command, with its signature and its body."""
