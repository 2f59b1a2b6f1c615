"""Rich tables, lists, sentences and progress bars for a terminal."""
