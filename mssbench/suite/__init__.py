"""A TOML file becomes cells, and a forecast of what they will cost."""
