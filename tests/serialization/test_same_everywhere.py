"""The bytes of a value do not depend on the process that writes them: replay compares them with the log's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
from decimal import Decimal
from romancy.serialization import Signature, dumps
from tests.serialization import models as m

words = {"a", "b", "c", "d", "e", "f"}
points = frozenset(m.Point(x, -x) for x in range(6))
print(dumps({"z": words, "a": [points, {m.Colour.RED, m.Colour.GREEN}], "m": {1, "1", None, 2.5}}, "value").decode())
print(dumps({frozenset(words - {word}) for word in words}, "value", set[frozenset[str]]).decode())
print(dumps(m.Crate(Decimal(1), words), "value", m.Crate).decode())
print(dumps(m.Model(name="a", tags=words), "value", m.Model).decode())
print(dumps([m.Model(name="a", tags=words)], "value").decode())
print(dumps(m.Packed({"b": words}, words), "value", m.Packed).decode())

def call(names: set[str], points: frozenset[m.Point], rest: object) -> None: ...

print(Signature.of(call).encode_arguments((words, points, {"x": words}), {}).decode())
"""


def run_with(seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.check_output([sys.executable, "-c", PROGRAM], env=environment, text=True)


@pytest.fixture(scope="module")
def written() -> str:
    """What the program prints under the hash seed 0."""
    return run_with("0")


@pytest.mark.parametrize("seed", ["1", pytest.param("random", marks=pytest.mark.long)])
def test_the_same_bytes_under_every_hash_seed(written: str, seed: str) -> None:
    assert written == run_with(seed)
