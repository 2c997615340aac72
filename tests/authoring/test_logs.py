"""The fields of our log lines: on every record of our loggers, in nobody's way."""

from __future__ import annotations

import logging

from romancy._logs import FIELDS, about, get_logger, working


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
    assert values == [(None, None, None, None, None), ("order-42", "order", "charge:1", 2, "worker-1")]
