"""Ground under the adapters of SQL databases: what each of them would otherwise build from nothing.

An adapter keeps what is its database's own: its SQL, its locks, its errors and its wire.
Nothing here knows a driver or a database.
"""
