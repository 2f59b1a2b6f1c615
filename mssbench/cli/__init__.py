"""The command line: one file for each command, with its signature and its body."""
