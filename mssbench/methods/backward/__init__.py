"""Backward methods, which map the cotangent of a root to the gradient: one method per file.

Every module in this folder is imported when the registry is loaded; there is no list.
"""
