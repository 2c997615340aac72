"""Faults other than a kill at a write: frozen and lost workers, dying databases, cut connections, poison.

Real processes run `program`. They record what they did in a ledger outside the database and in a user's table; the test
finally compares both with the log.
"""
