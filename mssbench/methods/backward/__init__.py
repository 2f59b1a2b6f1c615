"""One backward, one file: the cotangent of a root -> the gradient. Found by their place."""
