"""Reference solutions of problems with error estimates, independent of all methods."""
