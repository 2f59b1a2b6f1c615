"""Data types that are stored in result tables and exchanged between processes."""
