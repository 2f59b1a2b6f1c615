"""Roots computed by other libraries, exactly as their users get them, without corrections here.

They are registered through the entry points in pyproject.toml. Each module imports its library only
when the method is called, so that listing the methods imports none of them. The gradient is that of
the library, in a pair with `autodiff`.
"""
