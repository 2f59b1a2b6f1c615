"""Stored matrices and features, and the script that made the features."""
