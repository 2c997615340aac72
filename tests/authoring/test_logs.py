"""The fields of Romancy's log lines: on every record of its loggers, and on no others."""

from __future__ import annotations

import logging

from romancy._logs import FIELDS, Said, Speaker, about, get_logger, hush, unhush, working
from romancy.errors import StorageError


class _Instance:
    instance_id = "order-42"
    workflow_name = "order"


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record)


def test_no_field_is_one_of_the_records_own() -> None:
    record = logging.LogRecord("romancy", logging.INFO, __file__, 1, "text", None, None)

    assert [] == [name for name in FIELDS if hasattr(record, name)]


def test_every_record_bears_every_field() -> None:
    logger = get_logger("romancy.a_test")
    ear = _Ear()
    logger.addHandler(ear)
    try:
        logger.error("nothing in particular")
        token = working.set("worker-1")
        logger.error("about one", extra=about(_Instance(), "charge:1", 2))
        working.reset(token)
    finally:
        logger.removeHandler(ear)

    values = [tuple(vars(record)[name] for name in FIELDS) for record in ear.heard]
    assert values == [(None,) * 6, ("order-42", "order", None, "charge:1", 2, "worker-1")]


def test_texts_are_kept_out_where_an_app_of_the_process_wants_it() -> None:
    logger = get_logger("romancy.a_test")
    ear = _Ear()
    logger.addHandler(ear)
    quiet = Speaker("quiet", error_text=False)
    hush(quiet)
    try:
        for speaker in (Speaker("loud", error_text=True), quiet, None):
            token = working.set(speaker)
            logger.error("100%% of %s%s: %s", "it", Said(": secret", "…"), ValueError("secret"))
            try:
                raise LookupError("secret")
            except LookupError:
                logger.exception("it broke at 100 %")
            logger.error("of ours: %s", StorageError("the disk is full"))
            working.reset(token)
        unhush(quiet)
        logger.error("said again: %s", ValueError("secret"))
    finally:
        logger.removeHandler(ear)

    lines = [logging.Formatter("%(message)s").format(record) for record in ear.heard]
    quietly = ["100% of it…: ValueError", "it broke at 100 % (LookupError)", "of ours: the disk is full"]
    assert lines[0] == "100% of it: secret: secret"
    assert lines[1].endswith("LookupError: secret")
    assert lines[3:] == [*quietly, *quietly, "said again: secret"]
