"""Rates by workflow, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._failures import SyncFailedInstances

if TYPE_CHECKING:
    from romancy.rates import Rates
    from romancy.retry import Duration


__all__ = ["SyncRated"]


class SyncRated(SyncFailedInstances):
    """Counts what begins, ends and waits."""

    def rates(self, within: Duration = 3600.0, *, most: int = 10000) -> Rates:
        """How many instances of each workflow began, ended and failed in a minute, and how many are open and wait.

        `within` is the time until now, in seconds. It is told in twelve spans as well. The newest `most` begins and the
        newest `most` ends are counted, and of each status the `most` open instances that were started first. If there
        are more, the rates are those of a shorter time (`begun_since`, `ended_since`). What was purged is not counted,
        and a retry takes back the end of its instance.
        """
        result: Rates = self._call("rates", within, most=most)
        return result
