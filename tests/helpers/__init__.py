"""What the tests share: makers of matrices and tables, stand-ins, fakes and limits of time."""
