"""Calls from outside a worker: management, starts and signals in a caller's transaction, waits."""
