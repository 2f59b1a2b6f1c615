"""The mathematics: forward and backward methods, and the functions that call them."""
