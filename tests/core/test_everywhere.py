"""The same log means the same run in every process: other hash seeds, other heaps, other Pythons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.core.interpreters import this_one
from tests.core.other_process import ALL, histories

if TYPE_CHECKING:
    from tests.core.interpreters import Interpreter

SCRIPT = "tests.core.other_process"


@pytest.fixture(scope="module")
def written() -> str:
    return json.dumps({name: histories(name) for name in ALL})


@pytest.mark.parametrize("seed", ["1", *(pytest.param(seed, marks=pytest.mark.long) for seed in ("2", "31415"))])
def test_another_hash_seed_and_another_heap(written: str, seed: str) -> None:
    found = this_one().run("-m", SCRIPT, "--exact", "--cuts", "3", "--heap", seed, input=written, PYTHONHASHSEED=seed)
    assert json.loads(found) == {}


@pytest.mark.long(days=2)
def test_histories_of_this_python_replay_on_the_others(written: str, python: Interpreter) -> None:
    found = python.run("-m", SCRIPT, "--heap", "7", input=written, PYTHONHASHSEED="7")
    assert json.loads(found) == {}


@pytest.mark.long(days=2)
def test_histories_of_the_others_replay_on_this_one(python: Interpreter) -> None:
    theirs = python.run("-m", SCRIPT, "--write")
    found = this_one().run("-m", SCRIPT, "--heap", "9", input=theirs, PYTHONHASHSEED="9")
    assert json.loads(found) == {}
