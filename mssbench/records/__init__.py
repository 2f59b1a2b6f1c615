"""The words on disk and between processes: cells, measurements and columns."""
