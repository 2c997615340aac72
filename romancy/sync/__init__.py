"""Romancy for code without `await`: Flask, Django, scripts, threads.

The classes are written by `python -m tools.make_sync` from those with `await`.
"""

from __future__ import annotations

from romancy._expected_options import OF_APPS, answer_options
from romancy.declaring.expected_names import NAMES_OF_APPS, OF_HANDLES, answer_names, refuse_async_with
from romancy.sync._app import SyncRomancy
from romancy.sync._asked import SyncAsked
from romancy.sync._channel import SyncChannel
from romancy.sync._entity import SyncEntityHandle
from romancy.sync._handle import SyncHandle
from romancy.sync._schedule import SyncScheduleHandle
from romancy.sync._subscription import SyncSubscription
from romancy.sync._window import SyncWindowHandle

__all__ = [
    "SyncAsked",
    "SyncChannel",
    "SyncEntityHandle",
    "SyncHandle",
    "SyncRomancy",
    "SyncScheduleHandle",
    "SyncSubscription",
    "SyncWindowHandle",
]

refuse_async_with(SyncRomancy)
answer_names(SyncRomancy, NAMES_OF_APPS, "url")
answer_names(SyncHandle, OF_HANDLES, "instance_id")
answer_options(SyncRomancy, OF_APPS)
