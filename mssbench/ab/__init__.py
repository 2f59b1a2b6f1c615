"""Compare the speed of two sides: fresh processes of both, sampled in turn."""
