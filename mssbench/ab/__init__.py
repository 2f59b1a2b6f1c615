"""Compare the speed of two sides by sampling fresh processes of both alternately."""
