"""`python -m mssbench`."""

from mssbench.cli.main import main

main()
