"""A cell becomes measurements: inputs, verification, timing, memory and counts."""
