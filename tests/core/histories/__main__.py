"""Write the histories of the present version: `python -m tests.core.histories <name>`."""

from __future__ import annotations

import json
import sys

from romancy_conformance.workflows import FAMILY
from tests.core.histories import HERE
from tests.core.other_process import histories

# Traces name files; the paths of the tree and the interpreter that wrote them do not matter.
PLACES = [f"{HERE.parents[2]}/", f"{sys.base_prefix}/"]


def without_places(body: str) -> str:
    for place in PLACES:
        body = body.replace(place, "")
    return body


with (HERE / f"{sys.argv[1]}.jsonl").open("x", encoding="utf-8") as file:
    for name in FAMILY:
        commits = [(id, without_places(body)) for id, body in histories(name)]
        file.write(json.dumps([name, commits], ensure_ascii=False) + "\n")
