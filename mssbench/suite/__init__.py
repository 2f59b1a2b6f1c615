"""Suites: read a TOML file, expand it into cells, and forecast their cost."""
