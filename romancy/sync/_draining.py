"""Workers that are asked to drain, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from romancy.sync._workflows import SyncPausedWorkflows

__all__ = ["SyncDraining"]


class SyncDraining(SyncPausedWorkflows):
    """Asks workers to drain."""

    def drain_worker(self, worker_id: str) -> None:
        """Ask a worker of any process to drain, as if that had been told to stop (SIGTERM), and return.

        `serve()` and `romancy run` then return. Any other app drains beside what else it does, as by `drain()`. The
        worker hears of it as of a paused activity; `romancy workers` shows how far it is. Raises UsageError unless a
        live worker has this id. A worker of an older version of Romancy does not hear of it.
        """
        self._call("drain_worker", worker_id)
