"""Takes instances out of a database as JSON Lines, and brings them into another one. `format.py` says what is written.

Nothing runs an instance that is taken out or brought in: those that are open rest, on both sides (`resting.py`).
"""
