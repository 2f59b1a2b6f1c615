"""A run on disk, `results/<run>/`: rows, samples, facts and suite, read and written."""
