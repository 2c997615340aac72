"""What must be true of every database, whatever has happened to it: a sweep over one that names what is wrong.

It reads through the storage protocol, and with plain SQL what the protocol does not show; it writes nothing. A crash
may leave what the next sweep of a worker repairs (mail that nobody has looked at, the instances of a dead worker): that
is no fault here. Rows of the outbox name no instance, so nothing is held against them.
"""

from romancy_conformance.invariants._sweep import Complaint, sweep, sweep_url
from romancy_conformance.invariants._tables import Tables

__all__ = ["Complaint", "Tables", "sweep", "sweep_url"]
