"""The door to the worker process: `python -m mssbench.worker`. It never moves.

`mssbench ab` starts a worker by this name in the source trees of older and of newer revisions too.
"""

from mssbench.engines.worker import main

if __name__ == "__main__":
    main()
