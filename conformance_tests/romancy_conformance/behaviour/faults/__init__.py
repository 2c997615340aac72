"""Faults other than a kill at a write: frozen and lost workers, dying databases, cut connections, poison.

Processes are real and run `program`; what they did is in a ledger outside of the database and in a table of the
user's, and both are held against the log in the end.
"""
