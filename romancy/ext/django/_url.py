"""Romancy's URL for a database of Django's: the same server, the same file, the same tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["url_of"]

_WITHOUT_EFFECT: Final = {
    "postgresql": {
        "application_name", "client_encoding", "isolation_level", "keepalives", "keepalives_count", "keepalives_idle",
        "keepalives_interval", "pool", "server_side_binding",
    },
    "mysql": {
        "autocommit", "charset", "collation", "conv", "init_command", "isolation_level", "read_timeout", "sql_mode",
        "use_unicode", "write_timeout",
    },
}  # fmt: skip
"""Options that concern Django's own connections, and neither where the tables are nor who may log in."""
_TLS: Final = {
    "DISABLED": "off", "PREFERRED": "prefer", "REQUIRED": "require", "VERIFY_CA": "verify", "VERIFY_IDENTITY": "verify",
}  # fmt: skip


def url_of(connection: BaseDatabaseWrapper) -> str:
    """The URL. Raises UsageError for settings that Romancy's URL cannot express."""
    make = _KINDS.get(connection.vendor)
    if make is None:
        raise UsageError(
            f"the database {connection.alias!r} is {connection.display_name}, on which Romancy does not run; "
            "set ROMANCY = {'URL': …} to another one"
        )
    return make(connection.settings_dict, connection.alias)


def _sqlite(given: Mapping[str, Any], alias: str) -> str:
    name = str(given["NAME"] or "")
    if name in ("", ":memory:") or name.startswith("file:"):
        raise UsageError(
            f"the database {alias!r} is {name or 'without a name'}; Romancy needs a file that several connections "
            "share. In tests, name one: DATABASES = {'default': {…, 'TEST': {'NAME': BASE_DIR / 'test.sqlite3'}}}"
        )
    return f"sqlite:///{quote(str(Path(name).absolute()))}"


def _postgresql(given: Mapping[str, Any], alias: str) -> str:
    said = dict(given.get("OPTIONS") or {})
    options = _taken(said, ("sslmode", "sslrootcert", "connect_timeout", "target_session_attrs"))
    _refuse_others(said, "postgresql", alias)
    if "," in str(given.get("HOST")):
        options |= {name.lower(): str(given[name]) for name in ("HOST", "PORT") if given.get(name)}
        given = {**given, "HOST": "", "PORT": ""}
    return _server("postgresql", given, options, socket="host")


def _mysql(given: Mapping[str, Any], alias: str) -> str:
    said = dict(given.get("OPTIONS") or {})
    options = _taken(said, ("connect_timeout",))
    if "unix_socket" in said:
        options["socket"] = str(said.pop("unix_socket"))
    if said.get("ssl_mode") in _TLS:
        options["tls"] = _TLS[said.pop("ssl_mode")]
    options |= _certificates(said)
    _refuse_others(said, "mysql", alias)
    return _server("mysql", given, options, socket="socket")


def _certificates(said: dict[str, Any]) -> dict[str, str]:
    """The options of `ssl`, taken out if the URL can express all of them."""
    given: dict[str, Any] = said.get("ssl") or {}
    if not set(given) <= {"ca", "cert", "key"}:
        return {}
    said.pop("ssl", None)
    files = {f"tls_{key}": str(value) for key, value in given.items()}
    return {"tls": "verify" if "ca" in given else "require", **files} if given else {}


def _taken(said: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {name: str(said.pop(name)) for name in names if name in said}


def _refuse_others(said: Mapping[str, Any], vendor: str, alias: str) -> None:
    others = sorted(said.keys() - _WITHOUT_EFFECT[vendor])
    if others:
        raise UsageError(
            f"the database {alias!r} has {others[0]!r} in its OPTIONS, which Romancy cannot take over; "
            "set ROMANCY = {'URL': …} to the same database instead of DATABASE"
        )


def _server(scheme: str, given: Mapping[str, Any], options: dict[str, str], *, socket: str) -> str:
    user, password, host = (str(given.get(key) or "") for key in ("USER", "PASSWORD", "HOST"))
    if host.startswith("/"):
        options, host = {socket: host, **options}, ""
    name = f"[{host}]" if ":" in host else quote(host)
    secret = f":{quote(password, safe='')}" if password else ""
    at = f"{quote(user, safe='')}{secret}@" if user else ""
    port = f":{given['PORT']}" if given.get("PORT") else ""
    query = f"?{urlencode(options)}" if options else ""
    return f"{scheme}://{at}{name}{port}/{quote(str(given['NAME']), safe='')}{query}"


_KINDS: Final[Mapping[str, Callable[[Mapping[str, Any], str], str]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mysql": _mysql,
}
