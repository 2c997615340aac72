"""Shared parts of the adapters of SQL databases.

An adapter keeps what is its database's own: its SQL, its locks, its errors and its wire. Nothing here knows a driver or
a database. The texts of counts and lookups, which differ in little more than hints, are in `figures.sql` and
`lookups.sql`.
"""
