"""Functions that workflows of the same package call."""

from __future__ import annotations

import datetime as dt
import functools
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from time import time as wall_clock
from uuid import uuid4 as new_id


def stamp() -> float:
    return wall_clock()  # 1


def deeper() -> str:
    return f"{stamp()} {os.environ['HOME']}"  # 2


@functools.lru_cache
def cached() -> str:
    return os.getenv("HOME", "")  # 3


def uses_a_lambda() -> float:
    return (lambda: time.monotonic())()  # 4


class Clock:
    def __init__(self) -> None:
        self.began = dt.datetime.now(dt.UTC)  # 5

    def tick(self) -> float:
        return self._now()

    @staticmethod
    def _now() -> float:
        return time.time()  # 6

    @property
    def today(self) -> dt.date:
        return dt.date.today()  # 7


@dataclass
class Order:
    item: str
    number: str = field(default_factory=lambda: "1")

    def label(self) -> str:
        return str(new_id())  # 8


def read(path: str) -> str:
    return (Path(path) / "settings").read_text()  # 9


def never_called() -> float:
    return random.random()
