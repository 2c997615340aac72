"""The databases of the benchmarks: empty ones, on private servers with the durability of production.

Some peers keep their queues in Redis.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cores import apart
from benchmarks.redis_server import private_redis
from romancy_conformance.servers import Kind, fresh_database, give_back

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["DATABASES", "REDIS", "STORES", "databases", "empty_database"]

DATABASES = ("sqlite", "postgres", "mysql", "mariadb")
REDIS = ("redis", "redis-always")
"""Redis as its documentation advises, and with each write flushed."""
STORES = (*DATABASES, *REDIS)
"""Those of the peers too."""


@contextlib.contextmanager
def empty_database(name: str, folder: Path | None = None) -> Generator[str]:
    """Yield the URL of an empty database, for one measurement."""
    if name == "sqlite" or name in REDIS:
        made = Path(tempfile.mkdtemp(prefix="romancy-bench-", dir=folder))
        try:
            if name == "sqlite":
                yield f"sqlite:///{made / 'bench.sqlite'}"
                return
            with private_redis(made, always=name == "redis-always") as url:
                yield url
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    url = fresh_database(Kind(name))
    try:
        yield url
    finally:
        give_back(Kind(name), url)


def databases(names: list[str], folder: str, *, on_other_cores: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the chosen databases with their URLs; with `--apart`, servers run on other cores."""
    for name in names or DATABASES:
        if name == "sqlite":
            yield name, f"sqlite:///{Path(folder) / 'bench.db'}"
            continue
        with apart() if on_other_cores else contextlib.nullcontext():
            url = fresh_database(Kind(name))
        yield name, url
