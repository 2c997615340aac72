"""Invariants of every Romancy database, whatever has happened to it: a sweep that names each violation.

The sweep reads through the storage protocol, and with plain SQL what the protocol does not show; it writes nothing. A
crash may leave what the next sweep of a worker repairs (mail that no worker has seen, the instances of a dead worker):
this is not a violation. Rows of the outbox name no instance, so the sweep does not check them.
"""

from romancy_conformance.invariants._sweep import Complaint, sweep, sweep_url
from romancy_conformance.invariants._tables import Tables

__all__ = ["Complaint", "Tables", "sweep", "sweep_url"]
