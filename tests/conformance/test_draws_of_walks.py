"""A seed leads a walk the same way in every process."""

from __future__ import annotations

import os
import subprocess
import sys

from tools import tree

_DRAWS = """
import random
from romancy_conformance.contract.walking.drawing import Draws
draws = Draws(None, random.Random(5))
words = frozenset(map("word{}".format, range(20)))
print([draws.one(words) for _ in range(9)], draws.some(words, 9))
"""


def test_what_is_drawn_from_a_set_does_not_depend_on_the_process() -> None:
    paths = os.pathsep.join(str(tree.ROOT / name) for name in ("", "backends", "conformance_tests"))

    drawn = {
        subprocess.check_output(
            [sys.executable, "-c", _DRAWS], env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": str(seed)}
        )
        for seed in range(3)
    }

    assert len(drawn) == 1
