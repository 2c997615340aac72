"""The encoded projection: a stored input as one flat JSON object of words, the same on every database.

    {"order": {"status": "new", "items": [{"sku": "A 1"}]}}
    {"order":"c","order__status":"s:new","order__items":"c","order__items__0":"c","order__items__0__sku":"s:A!)#$"}

Inputs are stored by the names of their parameters. If a workflow has a *bare* parameter (the only one, or the first if
all others have defaults), and its value is an object or an array, the member `_` holds that parameter's name as a
segment of a key. A path whose first segment is no parameter then begins in that value (`member_at`).

It has one more member for each place in the document: its key (`_paths`) and its word (`_leaves`). It is flat because a
path of 32 segments would otherwise need 32 nested objects, and MariaDB's JSON functions stop at 32. Arrays and objects
with numbers for keys look alike, so a path is always a single extraction.

Beside the input stand the *headers* of a start (`_headers`): the member `_h`, and one for each header.

A document is **not searchable** (None, stored as NULL) if its projection would be over 64 kB or if it is not JSON, as
under an encrypting codec. It then matches no filter, not even `None` or `missing()`. If its start has headers, there is
a projection of these alone, with the member `_x`. Values deeper than 32 segments are
not in the projection, and no path reaches them. Of members with the same name the last one counts. Nothing here raises:
an instance whose input can be stored can be started.
"""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from romancy.storage.query._headers import HEADERS, UNREAD, with_headers
from romancy.storage.query._leaves import CEILING, CONTAINER, MAX_DIGITS, leaf, string_leaf
from romancy.storage.query._paths import MAX_DEPTH, SEPARATOR, encode_names, path_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from romancy.storage.query._leaves import Json

__all__ = [
    "INDEX_HEAD", "MAX_PROJECTION_BYTES", "declared_part", "index_text", "index_value", "member_at", "members_of",
    "project", "project_with_index",
]  # fmt: skip

MAX_PROJECTION_BYTES = 64 * 1024
MAX_INDEX_LENGTH = 255
BARE = "_"
"""The key of the member that names the bare parameter. It is the key of no path."""
INDEX_HEAD = MAX_INDEX_LENGTH - 1 - 64
_MEMBER_OVERHEAD = len('"":"",')

_decode_json = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, str]).decode


def project(raw_json: bytes, bare: str | None = None) -> bytes | None:
    """The projection of a document's JSON text, as JSON text of plain ASCII. None: not searchable."""
    try:
        document = _decode(raw_json)
    except (ValueError, RecursionError):
        return None
    members: list[str] = []
    if bare is not None and isinstance(document, dict) and isinstance(document.get(bare), (dict, list)):
        members.append(f'{BARE}":"{encode_names((bare,))[0]}')
    if isinstance(document, (dict, list)) and _collect(members, document, "", 1, MAX_PROJECTION_BYTES) < 0:
        return None
    if not members:
        return b"{}"
    text = '{"' + '","'.join(members) + '"}'
    return text.encode("ascii") if len(text) <= MAX_PROJECTION_BYTES else None


def members_of(projection: bytes) -> dict[str, str]:
    """The members of a projection: each key with its word."""
    return _decode_members(projection)


def member_at(members: dict[str, str], key: str) -> str | None:
    """The word at the place that a path with this key leads to. None: absent."""
    first, _, _ = key.partition(SEPARATOR)
    if first in members:
        return members.get(key)
    bare = members.get(BARE)
    return None if bare is None else members.get(f"{bare}{SEPARATOR}{key}")


def declared_part(projection: bytes | None, paths: Iterable[str]) -> bytes | None:
    """The projection with the words of declared paths alone, for inputs that a codec hides.

    The names of the parameters stay, since they decide where a path begins. What they hold is a container to a search.
    Headers are left out: no declaration says which of them may be in the clear.
    """
    if projection is None:
        return None
    members = members_of(projection)
    if UNREAD in members:
        return None
    members.pop(HEADERS, None)
    bare = members.get(BARE)
    wanted: set[str] = set()
    for key in map(path_key, paths):
        starts_at_a_parameter = key.partition(SEPARATOR)[0] in members
        wanted.add(key if starts_at_a_parameter or bare is None else f"{bare}{SEPARATOR}{key}")
    kept = {
        key: word if key == BARE or key in wanted else CONTAINER
        for key, word in members.items()
        if key == BARE or key in wanted or SEPARATOR not in key
    }
    return msgspec.json.encode(kept)


def index_value(raw_json: bytes, path: str) -> str | None:
    """The index column of a declared path. None if the path is absent or the document not searchable.

    At most 255 characters, all ASCII. A longer word is cut and ends in `~` and its SHA-256, so that equal values stay
    equal. Cut words sort only roughly, and `missing()` also meets documents that are not searchable. An adapter
    therefore narrows by the index (`index_predicate`) and always asks the projection as well.
    """
    _, ((_, value),) = project_with_index(raw_json, (path,))
    return value


def project_with_index(
    raw_json: bytes, paths: Sequence[str], bare: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[bytes | None, tuple[tuple[str, str | None], ...]]:
    """`project`, and each declared path with its `index_value`, in one call. Headers are added to the projection.

    `MAX_PROJECTION_BYTES` limits the input's part alone.
    """
    projection = project(raw_json, bare)
    members = members_of(projection) if paths and projection is not None else {}
    if headers:
        projection = with_headers(projection, headers)
    if not paths:
        return projection, ()
    return projection, tuple([(path, index_text(member_at(members, path_key(path)))) for path in paths])


def index_text(word: str | None) -> str | None:
    """A word, cut to the size of an index column."""
    if word is None or len(word) <= MAX_INDEX_LENGTH:
        return word
    return word[:INDEX_HEAD] + CEILING + sha256(word.encode("ascii")).hexdigest()


def _decode(raw_json: bytes) -> Json:
    """A document as Python values. A number beyond the limits becomes infinity. ValueError: not JSON."""
    try:
        document: Json = _decode_json(raw_json)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Slower, but accepts halves of surrogate pairs, numbers beyond the floats, integers of thousands of digits.
        document = json.loads(raw_json.decode(), parse_int=_integer, parse_constant=_refuse_constant)
    return document


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= MAX_DIGITS + 1 else math.inf


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _collect(members: list[str], container: dict[str, Json] | list[Json], prefix: str, depth: int, room: int) -> int:
    """Collect every place in the container. The room that is left, negative once the projection is too large."""
    # The least that its members take. A hostile document thus costs no more memory than its own size.
    room -= len(container) * (len(prefix) + _MEMBER_OVERHEAD)
    if room < 0:
        return room
    if isinstance(container, dict):
        places = zip(encode_names(container), container.values(), strict=True)
    else:
        places = zip(map(str, range(len(container))), container, strict=True)
    for name, value in places:
        if isinstance(value, str):
            members.append(f'{prefix}{name}":"{string_leaf(value)}')
        elif isinstance(value, (dict, list)):
            members.append(f'{prefix}{name}":"{CONTAINER}')
            if value and depth < MAX_DEPTH:
                room = _collect(members, value, f"{prefix}{name}{SEPARATOR}", depth + 1, room)
                if room < 0:
                    return room
        else:
            members.append(f'{prefix}{name}":"{leaf(value)}')
    return room
