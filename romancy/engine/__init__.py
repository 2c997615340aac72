"""The engine: the only place where the core meets a clock, an executor and a store. It knows no driver."""

from __future__ import annotations

from romancy.engine._absence import Absence, others_may_try
from romancy.engine._coded import coded
from romancy.engine._holding import refuse_to_wait, waits_in_vain
from romancy.engine._joining import send_in, start_alone, start_in
from romancy.engine._knowledge import names_in, versions_in
from romancy.engine._live import new_life, start_of
from romancy.engine._loading import history
from romancy.engine._log_writer import LogWriter
from romancy.engine._management import Standing, purge, resume, retry, terminate
from romancy.engine._messages import outgoing
from romancy.engine._opening import opened
from romancy.engine._runtime import RUNTIME
from romancy.engine._settings import Settings
from romancy.engine._signals import ToldToStop
from romancy.engine._unanswered import Unanswered
from romancy.engine._worker import Worker

__all__ = [
    "RUNTIME",
    "Absence",
    "LogWriter",
    "Settings",
    "Standing",
    "ToldToStop",
    "Unanswered",
    "Worker",
    "coded",
    "history",
    "names_in",
    "new_life",
    "opened",
    "others_may_try",
    "outgoing",
    "purge",
    "refuse_to_wait",
    "resume",
    "retry",
    "send_in",
    "start_alone",
    "start_in",
    "start_of",
    "terminate",
    "versions_in",
    "waits_in_vain",
]
