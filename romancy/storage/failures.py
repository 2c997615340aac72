"""Groups of failures: what is kept of an instance that has failed, so that failures with one cause are one line.

A failed instance has an interest of the kind MEMBER at the address `FAILED`, whose id is its group. No message is
posted there. The interest is written in the commit of the end, and dropped by a retry or a purge. So groups are counted
from what is there, by an index, the newest failures first.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from romancy.storage.routing import FAILED, Interest, InterestKind

__all__ = ["SILENCED", "SILENCED_AT", "About", "Grouped", "decode_about", "fold", "is_group", "member_of", "unsaid"]

SILENCED: Final = "romancy/silenced"
"""The subscriber outside whose interests are the groups that nobody wants to see."""
SILENCED_AT: Final = "~s"
_GROUP: Final = re.compile(r"f-[0-9a-f]{12}")
_READ: Final = 2_000
_LONGEST: Final = 300
_LONGEST_NAME: Final = 255
_PASSES: Final = 6

_QUOTED: Final = re.compile(r"(?<!\w)(?:'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`)(?!\w)")
_WORD: Final = re.compile(r"[^\s'\"`()\[\]{}<>,;=|/:?&+%…]+")
_CHANGING: Final = re.compile(r"[\d@]|^[a-fA-F]{8,}$")
_SEVERAL: Final = re.compile(r"…(?:[\s,:./+-]*…)+")


class About(Struct, frozen=True, omit_defaults=True, gc=False):
    """What is told of a group, as the failed instance with it has recorded it."""

    workflow: str
    type: str
    """The class of the error."""
    activity: str = ""
    """The activity, or the child, that failed. Empty: the workflow's own code."""
    text: str = ""
    """The message of the error, folded. Empty beside codecs that hide values."""
    code: str = ""
    """The version of the workflow's code."""
    release: str = ""

    @property
    def group(self) -> str:
        """The same for failures of the same cause."""
        said = msgspec.json.encode((self.workflow, self.activity, self.type, self.text))
        return f"f-{sha256(said).hexdigest()[:12]}"


class Grouped(NamedTuple):
    """The failures of a group among those that were read."""

    group: str
    number: int
    since: int
    last: int
    instance_id: str
    """The last one."""
    first: bytes
    """What the first one has recorded."""
    about: bytes
    """What the last one has recorded."""


def is_group(text: str) -> bool:
    """Whether this is the name of a group, and not a text to look for."""
    return _GROUP.fullmatch(text) is not None


def fold(text: str) -> str:
    """The text without what differs from instance to instance: quoted values, numbers, ids, addresses.

    Each is `…`, and so are several in a row. A word is an id if it has a digit or an @, or is long and hexadecimal.
    The text is cut; it has no control characters, and no two blanks in a row.
    """
    folded = " ".join("".join(" " if _is_control(one) else one for one in text[:_READ]).split())
    for _ in range(_PASSES):
        before, folded = folded, _folded_once(folded)
        if folded == before:
            break
    return folded[:_LONGEST]


def _is_control(character: str) -> bool:
    return unicodedata.category(character)[0] == "C"


def _folded_once(text: str) -> str:
    return _SEVERAL.sub("…", _WORD.sub(_word, _QUOTED.sub("…", text)))


def _word(found: re.Match[str]) -> str:
    bare = found[0].rstrip(".!")
    return f"…{found[0][len(bare) :]}" if _CHANGING.search(bare) else found[0]


def member_of(about: About) -> Interest:
    """The interest of a failed instance."""
    kept = replace(about, type=about.type[:_LONGEST_NAME], activity=about.activity[:_LONGEST_NAME])
    return Interest(interest_id=kept.group, address=FAILED, kind=InterestKind.MEMBER, where=msgspec.json.encode(kept))


def unsaid(interest: Interest) -> Interest:
    """The same without the text of the error, and grouped without it."""
    return member_of(replace(decode_about(interest.where or b""), text=""))


def decode_about(raw: bytes) -> About:
    """What a failed instance has recorded. Of a later version that this one cannot read, nothing is told."""
    try:
        return msgspec.json.decode(raw, type=About)
    except msgspec.DecodeError:
        return About("", "")
