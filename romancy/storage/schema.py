"""Compares the migrations that this code knows with those that a database has had, and decides whether they fit.

A migration is a numbered file of SQL. A line `-- additive: the reason` in it says that older code may continue on the
schema that it makes. The database records that with the migration, because nothing else tells an older program about
a file that it does not have. What says nothing is not additive. How a migration is applied and recorded is its
adapter's matter.

The name of the first migration is the identity of the schema: nothing leads from one first schema to another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from romancy.errors import InternalError, SchemaVersionError
from romancy.storage.upkeep import NO_TABLES, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable

__all__ = ["Applied", "Difference", "Migration", "compare", "read_migrations", "says_additive", "unmigrated"]

_FILE = re.compile(r"((\d{4})_\w+)(?:\.(\w+))?\.sql")
_ADDITIVE = re.compile(r"^-- additive: \S", re.MULTILINE)


class Migration(NamedTuple):
    """One numbered migration, as this code knows it."""

    version: int
    name: str
    additive: bool
    sql: str


class Applied(NamedTuple):
    """A migration that a database has had."""

    version: int
    name: str
    """Empty if the database does not tell. Of the first migration it has to."""
    additive: bool
    whole: bool = True
    """False: it was begun, and some step of it is missing."""

    def __str__(self) -> str:
        return f"version {self.version}" + (f" ({self.name!r})" if self.name else "")


class Difference(NamedTuple):
    """What the code and the database do not have in common. The code may use the database once nothing is missing."""

    missing: tuple[Migration, ...]
    """What the database lacks, in order."""
    unknown: tuple[Applied, ...]
    """What only the database has. All of these are additive."""
    version: int
    """The newest migration of the database; 0 if it has had none."""

    def plan(self, sql: str, steps: Sequence[tuple[str, bool]] | None = None) -> Plan:
        """The plan with this script. `steps` tells what is missing, and whether it is additive, in smaller parts."""
        if steps is None:
            steps = [(one.name, one.additive) for one in self.missing]
        return Plan(
            steps=tuple(name for name, _ in steps),
            sql=sql,
            additive=tuple(name for name, additive in steps if additive),
            fresh=self.version == 0,
            unknown=tuple(one.name or str(one) for one in self.unknown),
        )


def says_additive(text: str) -> bool:
    """Whether the text of a migration says that older code may continue."""
    return _ADDITIVE.search(text) is not None


def read_migrations(folder: Traversable, product: str | None = None) -> list[Migration]:
    """The migrations of a folder, oldest first.

    A file `NAME.PRODUCT.sql` is for that product alone, and follows the common file of its migration. A migration of
    several files is additive if each of them says so.
    """
    found: dict[int, Migration] = {}
    for file in sorted(folder.iterdir(), key=lambda file: (file.name[:4], file.name.count("."), file.name)):
        name = _FILE.fullmatch(file.name)
        if name is None or name[3] not in (None, product):
            continue
        text = file.read_text(encoding="utf-8")
        one = Migration(int(name[2]), name[1], says_additive(text), text)
        before = found.get(one.version)
        if before is not None:
            if before.name != one.name:
                raise InternalError(f"two migrations have the number {one.version}: {before.name}, {one.name}")
            one = one._replace(additive=before.additive and one.additive, sql=f"{before.sql}\n{one.sql}")
        found[one.version] = one
    return list(found.values())


def compare(known: Sequence[Migration], applied: Iterable[Applied], where: str) -> Difference:
    """What differs. `SchemaVersionError` if this code may not use the database, whatever migrations it applies."""
    had = {one.version: one for one in applied}
    knows = {one.version: one for one in known}
    first = had.get(known[0].version)
    if first is not None and first.name != known[0].name:
        raise _of_another_start(where, had[max(had)], first, known[0])
    missing = tuple(one for one in known if one.version not in had or not had[one.version].whole)
    unknown = tuple(one for version, one in sorted(had.items()) if version not in knows)
    for version in knows.keys() & had.keys():
        if had[version].name not in ("", knows[version].name):
            raise _forked(where, f"its migration {version} is {had[version].name!r}, not {knows[version].name!r}")
    for one in reversed(unknown):
        if not one.additive:
            raise SchemaVersionError(
                f"{where}: the schema is newer than this version of Romancy: it has {one}, on which older code may "
                f"not continue, and this version knows up to version {known[-1].version}; run a newer version of "
                "Romancy here"
            )
    if unknown and missing:
        raise _forked(where, f"it has {unknown[-1]} and lacks {missing[0].name!r}")
    return Difference(missing, unknown, max(had, default=0))


def _of_another_start(where: str, newest: Applied, first: Applied, known: Migration) -> SchemaVersionError:
    begins = repr(first.name) if first.name else "a migration without a name"
    return SchemaVersionError(
        f"{where}: a version of Romancy from before its first release made the schema: it has {newest} and begins with "
        f"{begins}, and the schema of this version begins with {known.name!r}. Nothing leads from one to the other: "
        "make a new database, or give the URL another `prefix=`"
    )


def _forked(where: str, what: str) -> SchemaVersionError:
    return SchemaVersionError(
        f"{where}: another branch of Romancy made the schema: {what}; run the version that made it here, or use "
        "another database"
    )


def unmigrated(difference: Difference, where: str, *, account: str = "") -> SchemaVersionError:
    """The error of a program that may not migrate, where something is missing. `account`: who may bring it about."""
    what, then = NO_TABLES, "makes them"
    if difference.version:
        names = ", ".join(one.name for one in difference.missing)
        what = (
            f"the schema is older than this version of Romancy: it has version {difference.version} and lacks {names}"
        )
        then = "brings it up to date"
    return SchemaVersionError(f"{where}: {what}; `romancy migrate`, or opening an app, {then}{account}")
