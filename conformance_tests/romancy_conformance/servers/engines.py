"""TiDB and the gate and tablets of Vitess: built once into the cache from Go modules, as there are no packages.

A build takes minutes, so no test waits for it: `make test-tidb` and `python -m romancy_conformance.servers install tidb
vitess` build them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from .cache import build_once, cache_folder
from .kinds import ServerUnavailableError

__all__ = [
    "ANNOUNCED",
    "ORIGIN",
    "VITESS_ORIGIN",
    "VITESS_VERSION",
    "build_tidb",
    "build_vitess",
    "present_tidb",
    "present_vitess",
]

_COMMIT: Final = "20251126154744-e4e814fdc0af"
"""Of its main branch: its release tags are no versions of a Go module."""
ANNOUNCED: Final = "8.0.40-TiDB-v8.5.4"
"""What it is told to announce. A build from a checkout would announce a placeholder."""
ORIGIN: Final = f"built from its commit {_COMMIT}, on its embedded store"
_MINUTES: Final = "about six minutes of two idle processors, and 3 GB of Go's caches"
VITESS_VERSION: Final = "0.21.0"
"""That of its Go module: it is Vitess 21.0.0."""
VITESS_ORIGIN: Final = "its gate and tablets in one process (vtcombo) over a MySQL of this suite"
_VITESS_MINUTES: Final = "about five minutes of two processors, and 2 GB of Go's caches"
_ITERATOR: Final = "\titer := r.getReverseIter()\n"
_SNAPSHOT: Final = "\tr.txn.SetReadTS(startTS)\n\tif r.RcCheckTS {\n\t\tr.txn.SetReadTS(math.MaxUint64)\n\t}\n"
"""The embedded store's descending scans ignore the snapshot: their iterator is made before its time is set."""


def present_tidb() -> Path:
    """The server of the built TiDB. `ServerUnavailableError` if there is none: a test does not wait for it."""
    server = _folder() / "tidb-server"
    if not server.exists():
        raise ServerUnavailableError(f"TiDB is not built: `make test-tidb` builds it once, in {_MINUTES}")
    return server


def build_tidb() -> Path:
    """Build it into the cache, once."""
    if not (_folder() / "tidb-server").exists():
        print(f"building TiDB into {_folder()}: {_MINUTES}", flush=True)
    build_once(_folder(), _build)
    return present_tidb()


def present_vitess() -> Path:
    """The built gate of Vitess with its tablets. `ServerUnavailableError` if there is none."""
    program = _vitess_folder() / "vtcombo"
    if not program.exists():
        raise ServerUnavailableError(
            "Vitess is not built: `python -m romancy_conformance.servers install vitess` builds it once, in "
            f"{_VITESS_MINUTES}"
        )
    return program


def build_vitess() -> Path:
    """Build it into the cache, once."""
    if not (_vitess_folder() / "vtcombo").exists():
        print(f"building Vitess into {_vitess_folder()}: {_VITESS_MINUTES}", flush=True)
    build_once(_vitess_folder(), _build_vitess)
    return present_vitess()


def _vitess_folder() -> Path:
    return cache_folder() / "engines" / f"vitess-{VITESS_VERSION}"


def _build_vitess(folder: Path) -> None:
    if shutil.which("go") is None:
        raise ServerUnavailableError("Vitess is built with Go 1.23 or newer, and there is no program `go` here")
    source = _module(f"vitess.io/vitess@v{VITESS_VERSION}")
    _go("build", "-mod=readonly", "-o", str(folder / "vtcombo"), "./go/cmd/vtcombo", cwd=source)


def _folder() -> Path:
    return cache_folder() / "engines" / "tidb"


def _build(folder: Path) -> None:
    begun = time.monotonic()
    if shutil.which("go") is None:
        raise ServerUnavailableError("TiDB is built with Go 1.23 or newer, and there is no program `go` here")
    source = folder / "src"
    shutil.copytree(_module(f"github.com/pingcap/tidb@v1.1.0-beta.0.{_COMMIT}"), source)
    _make_writable(source)
    parser = _module(f"github.com/pingcap/tidb/pkg/parser@v0.0.0-{_COMMIT}")
    shutil.copytree(parser, source / "pkg" / "parser", dirs_exist_ok=True)
    _make_writable(source)
    _mend(source / "pkg/store/mockstore/unistore/tikv/dbreader/db_reader.go")
    _go("build", "-o", str(folder / "tidb-server"), "./cmd/tidb-server", cwd=source)
    shutil.rmtree(source)
    print(f"built in {(time.monotonic() - begun) / 60:.0f} minutes", flush=True)


def _mend(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if _ITERATOR + _SNAPSHOT not in text:
        raise ServerUnavailableError(f"{file} is not what it was when this was written")
    file.write_text(text.replace(_ITERATOR + _SNAPSHOT, _SNAPSHOT + _ITERATOR), encoding="utf-8")


def _module(name: str) -> Path:
    """The folder in which Go keeps a module."""
    found = re.search(r'"Dir": "(.*)"', _go("mod", "download", "-json", name))
    if found is None:
        raise ServerUnavailableError(f"Go says nothing of a folder for {name}")
    return Path(found[1])


def _go(*words: str, cwd: Path | None = None) -> str:
    command = ["go", *words] if os.name == "nt" else ["nice", "-n", "10", "go", *words]
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ServerUnavailableError(f"{' '.join(words[:2])} failed:\n{ended.stderr[-2000:]}")
    return ended.stdout


def _make_writable(folder: Path) -> None:
    """What Go keeps is read-only."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
