"""Measure a suite, or train its networks, on a cluster with Slurm, and join the results.

    driver.py         the process that submits the tasks, waits for them, and joins the results
    work.py           what the driver must know of a suite that is measured
    training_work.py  the same of a suite whose networks are trained
    shards_folder.py  the folder in which the shards lie until they are joined
    journals.py       what the tasks have measured since the driver looked last
    command.py        another command, such as `ab`, on one node

A shard is a part of the cells of a suite. Each shard has a task in an array of jobs, which runs it
as `mssbench run --shard` does, into a folder of its own. The rows in these folders are all that
counts: the driver, a task and a node may each be killed at any time, and a second start of the
driver goes on from what is there.
"""
