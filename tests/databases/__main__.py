"""Write the databases of a commit: `python -m tests.databases COMMIT [NAME]`. Files are named after it, or after NAME.

A worker of that commit fills an empty database of each kind and dies during its work; the files keep the tables at that
moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from romancy_conformance.chaos.workers import put_tree
from romancy_conformance.servers.databases import drop_spares, fresh_database
from romancy_conformance.servers.run import close_run
from tests.databases import HERE, KINDS, digest
from tests.databases.rows import dumped
from tests.databases.writing import PARTS

ROOT = HERE.parents[1]
PACKAGES = {
    "sqlite": "romancy_sqlite",
    "postgres": "romancy_postgres",
    "mysql": "romancy_mysql",
    "mariadb": "romancy_mysql",
}


def digests(tree: Path, kind: str) -> dict[str, str]:
    """Return the migrations of a tree, with digests of their statements."""
    files = sorted((tree / "backends" / PACKAGES[kind] / "migrations").glob("*.sql"))
    return {file.name: digest(file.read_text(encoding="utf-8")) for file in files}


def filled(tree: Path, url: str, folder: Path) -> list[object]:
    """Fill the database; return the activities that ran."""
    calls: list[object] = []
    path = os.pathsep.join(map(str, (tree, tree / "backends", ROOT)))
    for part in PARTS:
        file = folder / f"{part}.json"
        command = [sys.executable, "-P", "-m", "tests.databases.writing", part, url, str(file)]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, cwd=folder, check=True)
        calls += json.loads(file.read_text(encoding="utf-8"))
    return calls


def without(places: list[str], body: bytes) -> bytes:
    """Traces name files; their paths do not matter."""
    for place in places:
        body = body.replace(place.encode(), b"")
    return body


def main(commit: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        tree = put_tree(commit, Path(made) / "tree")
        places = [f"{place}/" for place in (tree, ROOT, sys.prefix, sys.base_prefix)]
        for kind in KINDS:
            folder = Path(made) / kind
            folder.mkdir()
            url = f"sqlite:///{folder}/kept.db" if kind == "sqlite" else fresh_database(kind)
            head = {"migrations": digests(tree, kind), "calls": filled(tree, url, folder)}
            lines = [json.dumps(head, ensure_ascii=False), *dumped(url, partial(without, places))]
            with (HERE / f"{name}.{kind}.jsonl").open("x", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
            print(f"{Path(file.name).name}: {len(lines) - 1} rows")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[-1])
    finally:
        drop_spares()
        close_run()
