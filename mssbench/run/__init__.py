"""A suite is measured into a folder: order, passes, resume, and what is settled at the end."""
