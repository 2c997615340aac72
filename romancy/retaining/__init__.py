"""Removes ended instances when their time is over, beside the work of a worker. `keeping.py` says how."""
