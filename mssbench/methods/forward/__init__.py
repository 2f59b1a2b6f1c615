"""One forward, one file: A -> A^{1/2}, A^{-1/2}. Found by their place; there is no list."""
