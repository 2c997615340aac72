"""Runs of the suite on other machines: other Pythons, other versions of packages, other systems.

Each module runs one kind of machine and leaves what it ran, with its counts, in the records (`records.py`).
"""
