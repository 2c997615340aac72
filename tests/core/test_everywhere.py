"""The same log means the same run in every process: other hash seeds, other heaps, other Pythons."""

from __future__ import annotations

import json

import pytest

from romancy_conformance.workflows import FAMILY
from tests.core.interpreters import VERSIONS, Interpreter, other, this_one
from tests.core.other_process import histories

SCRIPT = "tests.core.other_process"


@pytest.fixture(scope="module")
def written() -> str:
    return json.dumps({name: histories(name) for name in FAMILY})


def ready(version: str) -> Interpreter:
    interpreter = other(version)
    if interpreter.missing:
        pytest.skip(interpreter.missing)
    return interpreter


@pytest.mark.parametrize("seed", ["1", "2", "31415"])
def test_another_hash_seed_and_another_heap(written: str, seed: str) -> None:
    found = this_one().run("-m", SCRIPT, "--exact", "--cuts", "3", "--heap", seed, input=written, PYTHONHASHSEED=seed)
    assert json.loads(found) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_histories_of_this_python_replay_on_the_others(written: str, version: str) -> None:
    found = ready(version).run("-m", SCRIPT, "--heap", "7", input=written, PYTHONHASHSEED="7")
    assert json.loads(found) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_histories_of_the_others_replay_on_this_one(version: str) -> None:
    theirs = ready(version).run("-m", SCRIPT, "--write")
    found = this_one().run("-m", SCRIPT, "--heap", "9", input=theirs, PYTHONHASHSEED="9")
    assert json.loads(found) == {}
