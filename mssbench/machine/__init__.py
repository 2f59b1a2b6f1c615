"""The machine: what can run here, its hardware and versions, and what would spoil results."""
