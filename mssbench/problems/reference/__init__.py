"""The verified answer to a problem. It knows no method."""
