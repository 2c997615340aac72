r"""Leaves: a JSON scalar as one word of printable ASCII, so that a database only ever compares bytes.

| word | stands for |
|---|---|
| `s:` + text | a string of at most 512 bytes of UTF-8; words sort as the strings do by code points |
| `l:` + SHA-256 | a longer string: only equality can be tested |
| `n:` + hex | a number that is an integer of 64 bits or a finite float; words sort as the numbers do |
| `i:` + digits | an integer beyond 64 bits: equal or unequal only, and never equal to a float |
| `x` | a number no filter value can equal: beyond the floats (`1e400`) or an integer beyond 512 digits |
| `b:0`, `b:1` | false, true |
| `z` | null |
| `c` | an object or an array: present, but not a leaf |

Words and keys are stored. To change their form, every instance must be projected again.

Words consist of `!#$&()*+,` to `-`, digits, letters and ``./:;<=>?@[]^_`{|}``: no blank, quote, percent sign,
backslash or `~` (`CEILING`, which sorts after every character used). So no JSON or SQL escape ever applies to them,
and a collation that pads with blanks or cuts at NUL changes nothing.

*Strings.* A code point that cannot stand for itself becomes a leading character that sorts where it does, one of
`! [ { | }`, and a fixed number of octal digits written `#$&()*+,`. Leading characters, digits and characters that
stand for themselves are three disjoint sets, and the leading character determines the number of digits. Hence a word
occurs inside another only where its string occurs inside the other string.

*Numbers.* The bits of the largest float not over the number, arranged so that they sort as numbers, in hex without
trailing zeros. If the integer is larger than that float, all sixteen digits and the difference in three more.
"""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import sha256
from re import compile as regex
from struct import Struct
from typing import TypeAlias

__all__ = [
    "CEILING",
    "CONTAINER",
    "MAX_DIGITS",
    "MAX_STRING_BYTES",
    "NULL",
    "NUMBER",
    "STRING",
    "Json",
    "Scalar",
    "escape",
    "is_int64",
    "leaf",
    "number_leaf",
    "string_leaf",
    "utf8_size",
]

Scalar: TypeAlias = str | int | float | bool | None
Json: TypeAlias = "dict[str, Json] | list[Json] | Scalar"

STRING, LONG_STRING, NUMBER, INTEGER = "s:", "l:", "n:", "i:"
FALSE, TRUE, NULL, CONTAINER, UNNAMEABLE = "b:0", "b:1", "z", "c", "x"
CEILING = "~"

MAX_STRING_BYTES = 512
MAX_DIGITS = 512

# Most strings need an escape only for blanks and commas. Replacing these is four times as fast as translating, and
# right because neither occurs in the other's replacement.
_NEEDS_TRANSLATION = regex(r"[^-./0-9:;<=>?@A-Z\]^_`a-z ,]").search
_BLANK, _COMMA = "!)#", "!*)"
_OCTAL = str.maketrans("01234567", "#$&()*+,")
_REMEMBERED_ESCAPES = 8192

_FLOAT = Struct(">d")
_BITS = Struct(">Q")
_SIGN, _ALL = 1 << 63, (1 << 64) - 1
_EXACT = 1 << 53
_UNNAMEABLE_FROM = 10**MAX_DIGITS


def leaf(value: Scalar) -> str:
    """The word for a scalar."""
    if isinstance(value, str):
        return string_leaf(value)
    if value is None:
        return NULL
    if isinstance(value, bool):
        return TRUE if value else FALSE
    return number_leaf(value)


def string_leaf(value: str) -> str:
    """The word for a string, which may hold anything, even halves of surrogate pairs."""
    if len(value) <= MAX_STRING_BYTES and _NEEDS_TRANSLATION(value) is None:
        return STRING + value.replace(",", _COMMA).replace(" ", _BLANK)
    if utf8_size(value) > MAX_STRING_BYTES:
        return LONG_STRING + sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return STRING + escape(value)


def escape(value: str) -> str:
    """The word of a string without its tag, for searching inside a word."""
    return value.translate(_ESCAPES)


def utf8_size(value: str) -> int:
    """The number of bytes of a string in UTF-8."""
    return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))


def is_int64(value: int) -> bool:
    """Whether the value fits a signed integer of 64 bits."""
    return -_SIGN <= value < _SIGN


@lru_cache(maxsize=4096, typed=True)  # typed: 10**19 and 1e19 are equal keys and different words
def number_leaf(value: float) -> str:
    """The word for an integer or a float. Equal numbers of the ordered kind (1, 1.0; 0, -0.0) share it."""
    if -_EXACT <= value <= _EXACT:
        return NUMBER + _sortable(value).rstrip("0")
    if isinstance(value, int):
        return _large_integer_leaf(value)
    return NUMBER + _sortable(value).rstrip("0") if math.isfinite(value) else UNNAMEABLE


def _large_integer_leaf(value: int) -> str:
    if not is_int64(value):
        return f"{INTEGER}{value}" if -_UNNAMEABLE_FROM < value < _UNNAMEABLE_FROM else UNNAMEABLE
    floor = float(value)
    if int(floor) > value:
        floor = math.nextafter(floor, -math.inf)
    above = value - int(floor)
    return f"{NUMBER}{_sortable(floor)}{above:03x}" if above else NUMBER + _sortable(floor).rstrip("0")


def _sortable(value: float) -> str:
    # Adding 0.0 turns minus zero into zero, and an int into a float.
    (bits,) = _BITS.unpack(_FLOAT.pack(value + 0.0))
    return f"{bits ^ (_SIGN if bits < _SIGN else _ALL):016x}"


class _Escapes(dict[int, str]):
    """The escape of each code point, computed at its first use."""

    def __missing__(self, code: int) -> str:
        word = self._word(code)
        if len(self) < _REMEMBERED_ESCAPES:
            self[code] = word
        return word

    @staticmethod
    def _word(code: int) -> str:
        if code < ord("-"):
            return f"!{code:02o}".translate(_OCTAL)
        if code in (ord("["), ord("\\")):
            return f"[{code - ord('['):o}".translate(_OCTAL)
        if code < ord("{"):
            return chr(code)
        if code < 1 << 12:
            return "{" + f"{code:04o}".translate(_OCTAL)
        if code < 1 << 18:
            return "|" + f"{code:06o}".translate(_OCTAL)
        return "}" + f"{code:07o}".translate(_OCTAL)


_ESCAPES = _Escapes()
