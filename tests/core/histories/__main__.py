"""Write the histories of the present version: `python -m tests.core.histories <name>`."""

from __future__ import annotations

import json
import sys

from romancy_conformance.workflows import FAMILY
from tests.core.histories import HERE
from tests.core.other_process import histories

# Traces name files; where the tree stood when they were written is nobody's business.
here = str(HERE.parents[2]) + "/"

with (HERE / f"{sys.argv[1]}.jsonl").open("x", encoding="utf-8") as file:
    for name in FAMILY:
        commits = [(id, body.replace(here, "")) for id, body in histories(name)]
        file.write(json.dumps([name, commits], ensure_ascii=False) + "\n")
