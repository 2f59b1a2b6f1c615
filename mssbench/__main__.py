"""`python -m mssbench`."""

from mssbench.cli import main

main()
