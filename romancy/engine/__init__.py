"""The engine: the only part that brings the core, a clock, an executor and a store together. It imports no driver."""

from __future__ import annotations

from romancy.engine.answers import Answers
from romancy.engine.codecs import (
    beneath_codecs,
    codecs_of,
    coded,
    hides,
    opened_input,
    opened_row_of_log,
    read_with_start,
    sealed_input,
    sealed_interests,
    searchable,
    stored_size,
    uncoded,
)
from romancy.engine.creation import start_of
from romancy.engine.dispatcher import Dispatcher
from romancy.engine.incarnation import RUNTIME
from romancy.engine.life_numbers import new_life
from romancy.engine.log_writer import LogWriter
from romancy.engine.messages import Outgoing, decode_message, decode_outgoing, outgoing
from romancy.engine.open_sessions import what_blocks
from romancy.engine.outside.absence import Absence, others_may_try
from romancy.engine.outside.caller_transaction import send_in, start_alone, start_in
from romancy.engine.outside.calls_in_sessions import refuse_to_wait, waits_in_vain
from romancy.engine.outside.descendants import descent_of
from romancy.engine.outside.forking import Wanted, fork, plan_of_fork
from romancy.engine.outside.lost_rows import LostRow, interests_from_log
from romancy.engine.outside.management import ActingWorker, ActsAs, ActsUnder, purge, resume, retry, row_of
from romancy.engine.outside.pausing import PAUSABLE, pause, unpause
from romancy.engine.outside.taking_back import Rewind, goes_on, plan_of_rewind, rewind
from romancy.engine.outside.terminating import terminate, terminate_with_children
from romancy.engine.replay import history, rows
from romancy.engine.settings import Settings
from romancy.engine.worker.evidence import Evidence, evidence_in
from romancy.engine.worker.known_workflows import (
    draining_in,
    known_in,
    names_in,
    release_in,
    retains_in,
    suspects_in,
    tried_in,
    versions_in,
)
from romancy.engine.worker.opening import opened
from romancy.engine.worker.retrying import RETRIED
from romancy.engine.worker.stop_signal import STOPPING, ToldToStop
from romancy.engine.worker.worker import Worker

__all__ = [
    "PAUSABLE",
    "RETRIED",
    "RUNTIME",
    "STOPPING",
    "Absence",
    "ActingWorker",
    "ActsAs",
    "ActsUnder",
    "Answers",
    "Dispatcher",
    "Evidence",
    "LogWriter",
    "LostRow",
    "Outgoing",
    "Rewind",
    "Settings",
    "ToldToStop",
    "Wanted",
    "Worker",
    "beneath_codecs",
    "codecs_of",
    "coded",
    "decode_message",
    "decode_outgoing",
    "descent_of",
    "draining_in",
    "evidence_in",
    "fork",
    "goes_on",
    "hides",
    "history",
    "interests_from_log",
    "known_in",
    "names_in",
    "new_life",
    "opened",
    "opened_input",
    "opened_row_of_log",
    "others_may_try",
    "outgoing",
    "pause",
    "plan_of_fork",
    "plan_of_rewind",
    "purge",
    "read_with_start",
    "refuse_to_wait",
    "release_in",
    "resume",
    "retains_in",
    "retry",
    "rewind",
    "row_of",
    "rows",
    "sealed_input",
    "sealed_interests",
    "searchable",
    "send_in",
    "start_alone",
    "start_in",
    "start_of",
    "stored_size",
    "suspects_in",
    "terminate",
    "terminate_with_children",
    "tried_in",
    "uncoded",
    "unpause",
    "versions_in",
    "waits_in_vain",
    "what_blocks",
]
