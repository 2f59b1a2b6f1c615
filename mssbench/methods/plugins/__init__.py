"""Roots of other libraries, as their users get them: nothing is clamped or mended on our side.

Reached only through the entry points of pyproject.toml. A file here imports its library when it is
called, so that a list of methods loads none of them. The gradient is the library's own: pair it
with `autodiff`.
"""
