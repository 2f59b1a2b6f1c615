"""Two result tables: the verdict on each row, and what all of them come to."""
