"""Which samples form which batch (plan.py), and their audio in memory in time (loader.py)."""
