"""Submit jobs to a cluster with Slurm, watch them, and cancel them, by submitit and Slurm's tools.

Nothing here knows what a job does: `mssbench.run.slurm` measures and trains on a cluster with it.
"""
