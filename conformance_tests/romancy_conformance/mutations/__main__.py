"""`python -m romancy_conformance.mutations [WORD…]`: play mutations, and say which of them nobody noticed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from romancy_conformance.mutations import MUTATIONS
from romancy_conformance.mutations._mutation import Mutation, play, tree
from romancy_conformance.servers import Kind, shared_server


def _asked_for(words: list[str]) -> list[Mutation]:
    return [
        mutation
        for mutation in MUTATIONS
        if not words or any(word in mutation.name or word == mutation.pitfall for word in words)
    ]


def main(words: list[str]) -> int:
    """How many went unnoticed or could not be played."""
    root = tree()
    if root is None:
        print("mutations need the source tree: run this in a checkout")
        return 1
    mutations = _asked_for(words)
    for kind in Kind:
        if any(mutation.backend == kind for mutation in mutations):
            shared_server(kind)  # the runs join this one's servers
    bad = 0
    for mutation in mutations:
        try:
            with tempfile.TemporaryDirectory() as folder:
                red, said = play(mutation, root, Path(folder))
        except LookupError as error:
            red, said = False, str(error)
        bad += not red
        print(f"{'red ' if red else 'NOT NOTICED'} {mutation.pitfall:4} {mutation.name}", flush=True)
        if not red:
            print("\n".join(f"     {line}" for line in said.splitlines()[-6:]), flush=True)
    print(f"{len(mutations)} mutations, {bad} not noticed")
    return bad


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
