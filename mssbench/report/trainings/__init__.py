"""The part of the report, and the figures, that are on trainings of networks."""
