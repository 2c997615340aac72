"""The option `listen_url`: where notifications are heard if the storage URL leads through a pooler.

It names the server itself, or those of which one is the primary. What it leaves out (the user, the password, the
database) is that of the storage URL. No message repeats it, because it may hold a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.errors import StorageConfigurationError
from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from romancy.storage.sqlkit.options import Options
    from romancy.storage.url import StorageURL

__all__ = ["LISTEN_OPTIONS", "listen_url"]

LISTEN_OPTIONS: Final = ("host", "port", "target_session_attrs", "connect_timeout", "sslmode", "sslrootcert")
_SCHEMES: Final = ("postgresql", "postgres")


def listen_url(url: StorageURL, options: Options) -> StorageURL | None:
    """The URL of the option with what it leaves out, or None without the option."""
    if not options["listen_url"]:
        return None
    if options["listen"] == "off":
        raise _refused(url, "is given beside listen=off; give one of the two")
    try:
        side = parse_url(options["listen_url"]).without_driver()
    except StorageConfigurationError as error:
        reason = str(error).removeprefix("storage URL: ")
        raise _refused(url, f"{reason}; percent-encode it as a whole") from None
    if side.scheme not in _SCHEMES:
        raise _refused(url, "is no postgresql:// URL")
    if unknown := sorted(set(side.options) - set(LISTEN_OPTIONS)):
        raise _refused(url, f"has the option {unknown[0]!r}; it takes {', '.join(LISTEN_OPTIONS)}")
    if side.user is None:
        side = replace(side, user=url.user, password=url.password, password_source=url.password_source)
    elif side.password is None and side.user == url.user:
        side = replace(side, password=url.password, password_source=url.password_source)
    return side if side.database else replace(side, path=url.path)


def _refused(url: StorageURL, reason: str) -> StorageConfigurationError:
    return StorageConfigurationError(f"storage URL {url}: listen_url {reason}")
