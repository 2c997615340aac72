"""Changes a text of SQL at one place, in every way that should be noticed. Knows no adapter and no table.

A condition is never cut out: `(… or true)` takes its place, and `(… and false)` that of an alternative. So each mutant
is as valid as the text, and every parameter keeps its number and its type. The text is read as tokens in brackets
(`case … end` is one), not parsed: what is not understood is left as it is, in every dialect alike.

The text may be a template. A placeholder (`{page}`, `:lock`) that follows a whole expression is the beginning of
something else; in the place of an operand it is one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from tools.mutations.systematic.brackets import Group, Token, brackets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["KINDS", "Mutant", "Site", "mutants"]

KINDS: Final = {
    "conjunct": "a condition that must hold is dropped",
    "alternative": "one of several conditions, of which one must hold, is dropped",
    "comparison": "a comparison is moved by one: < becomes <=",
    "order": "an `order by` is dropped",
    "limit": "a `limit` is dropped",
    "lock": "a clause that locks rows is dropped",
    "skip": "a clause that passes over locked rows is dropped",
    "upsert": "what is done about a row that exists is dropped",
}

_STARTS: Final = frozenset({"where", "on", "having", "when"})
"""Words with a condition behind them."""
_ENDS: Final = frozenset({
    "select", "from", "where", "on", "having", "when", "then", "else", "group", "order", "limit", "offset", "fetch",
    "for", "union", "except", "intersect", "returning", "set", "values", "join", "inner", "left", "right", "cross",
    "lateral", "straight_join", "using", "with", "as", "insert", "into", "update", "delete", "distinct",
    "window", "partition", "rows", "range", "force", "use", "indexed", ",", ";",
})  # fmt: skip
"""What a condition cannot contain outside brackets."""
_OPERATORS: Final = frozenset({
    "and", "or", "not", "in", "is", "like", "between", "any", "all", "some", "exists", "=", "<>", "!=", "<", ">",
    "<=", ">=", "+", "-", "*", "/", "%", "||", "->", "->>", "@>", "<@", "&&", "~", "::", "null_safe",
})  # fmt: skip
"""What asks for an operand to its right."""
_MOVED: Final = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_ENDLESS: Final = 1_000_000_000
_MANY: Final = 1_000_000
_LIMITED: Final = frozenset({"offset", "fetch", "for", "union", "on", "returning", "except", "intersect", ";"})
_LOCKS: Final = frozenset({"no", "key", "update", "share", "of", ",", "skip", "locked", "nowait"})


class Site(Struct, frozen=True):
    """A place to change."""

    kind: str
    start: int
    end: int
    replacement: str
    shown: tuple[int, int] | None = None
    """The piece that describes it, if that is another one."""


class Mutant(Struct, frozen=True):
    """A text with one change."""

    kind: str
    was: str
    """The piece that is dropped, or the comparison that is moved, in one line."""
    text: str
    line: int
    """Its line in the text, from 1."""


def mutants(sql: str, *, literal_limits: bool = False) -> list[Mutant]:
    """All mutants of a text, in its order.

    `literal_limits`: the dialect allows only a number behind `limit`.
    """
    tokens = brackets(sql)
    sites = {
        *_conditions(tokens),
        *_comparisons(tokens),
        *_clauses(tokens, literal_limits=literal_limits),
        *_upserts(sql),
    }
    return [
        Mutant(
            kind=site.kind,
            was=" ".join(sql[slice(*(site.shown or (site.start, site.end)))].split()),
            text=sql[: site.start] + _around(site, sql) + sql[site.end :],
            line=sql.count("\n", 0, site.start) + 1,
        )
        for site in sorted(sites, key=lambda site: (site.start, site.end, site.kind))
    ]


def _around(site: Site, sql: str) -> str:
    return site.replacement.replace("…", sql[site.start : site.end])


# --- conditions ---------------------------------------------------------------------------------------------------


def _conditions(group: Group) -> Iterator[Site]:
    group = _without_keys(group)
    for parts, begun in _regions(group):
        yield from _of_region(parts, whole=begun)
    for part in group.parts:
        if isinstance(part, Group):
            yield from _conditions(part)


def _without_keys(group: Group) -> Group:
    """The group without the keys of a `distinct on` and of its order, which have to be the same."""
    words = [part.word for part in group.parts]
    place = next((number for number in range(len(words) - 2) if words[number : number + 2] == ["distinct", "on"]), None)
    if place is None:
        return group
    order = words.index("order") if "order" in words else len(words)
    return replace(group, parts=[*group.parts[: place + 2], *group.parts[place + 3 : order]])


def _regions(group: Group) -> Iterator[tuple[list[Token | Group], bool]]:
    """The pieces of a group between words that end a condition, and whether a word before says that it is one."""
    region: list[Token | Group] = []
    begun = group.called in ("if", "iif")
    before = ""
    for part in group.parts:
        word = part.word
        ends = word in _ENDS or (_is_placeholder(word) and bool(region) and region[-1].word not in _OPERATORS)
        if not ends:
            region.append(part)
        else:
            yield region, begun
            region = []
            begun = word in _STARTS and not (word == "on" and before == "distinct") and not group.simple_case
        before = word
    yield region, begun


def _is_placeholder(word: str) -> bool:
    return bool(re.fullmatch(r":[a-z]\w*|\{\w+\}", word))


def _of_region(region: list[Token | Group], *, whole: bool) -> Iterator[Site]:
    words = {part.word for part in region}
    if not region or region[0].word in ("conflict", "duplicate", "or") or not (whole or words & {"and", "or"}):
        return
    alternatives = _split(region, "or")
    for alternative in alternatives:
        if len(alternatives) > 1:
            yield _site("alternative", alternative, "(… and false)")
        conjuncts = _split(alternative, "and")
        if len(conjuncts) > 1 or (whole and len(alternatives) == 1):
            for conjunct in conjuncts:
                if conjunct and not (len(conjunct) == 1 and conjunct[0].word in ("true", "false")):
                    yield _site("conjunct", conjunct, "(… or true)")
    if whole and len(alternatives) > 1:
        yield _site("conjunct", region, "(… or true)")


def _split(region: Sequence[Token | Group], word: str) -> list[list[Token | Group]]:
    """The pieces between the words. The `and` of a `between` is none."""
    pieces: list[list[Token | Group]] = [[]]
    between = False
    for part in region:
        if part.word == word and not (between and word == "and"):
            pieces.append([])
        else:
            pieces[-1].append(part)
        between = part.word == "between" or (between and part.word != "and")
    return pieces


def _site(kind: str, parts: Sequence[Token | Group], replacement: str) -> Site:
    return Site(kind, parts[0].start, parts[-1].end, replacement)


# --- comparisons --------------------------------------------------------------------------------------------------


def _comparisons(group: Group) -> Iterator[Site]:
    """Moved comparisons. The limits of `between` are moved by excluding them."""
    for number, part in enumerate(group.parts):
        if isinstance(part, Group):
            yield from _comparisons(part)
        elif part.word in _MOVED:
            shown = group.parts[max(0, number - 1)].start, group.parts[min(number + 1, len(group.parts) - 1)].end
            yield Site("comparison", part.start, part.end, _MOVED[part.word], shown)
        elif part.word == "between":
            low = _until(group.parts, number + 1, {"and"})
            high = _until(group.parts, low + 1, {"and", "or", *_ENDS})
            yield _site("comparison", group.parts[number + 1 : low], "… + 1")
            yield _site("comparison", group.parts[low + 1 : high], "… - 1")


def _until(parts: Sequence[Token | Group], number: int, words: set[str] | frozenset[str]) -> int:
    while number < len(parts) and parts[number].word not in words:
        number += 1
    return number


# --- clauses ------------------------------------------------------------------------------------------------------


def _clauses(group: Group, *, literal_limits: bool) -> Iterator[Site]:
    parts = group.parts
    for number, part in enumerate(parts):
        if isinstance(part, Group):
            yield from _clauses(part, literal_limits=literal_limits)
            continue
        after = parts[number + 1].word if number + 1 < len(parts) else ""
        if part.word == "order" and after == "by":
            end = _end_of_order(parts, number + 2)
            if "ties" not in {each.word for each in parts[end:]}:  # which are told by the order
                yield _site("order", parts[number:end], "")
        elif part.word == "limit" or (part.word == "fetch" and after == "first"):
            yield from _limits(parts, number, literal=literal_limits)
        elif part.word == "for" and after in ("no", "key", "update", "share"):
            yield from _locks(parts, number)


def _limits(parts: Sequence[Token | Group], number: int, *, literal: bool) -> Iterator[Site]:
    if parts[number].word == "fetch":
        yield _site("limit", [parts[number + 2]], f"(… + {_ENDLESS})")
        return
    limit = parts[number + 1 : _until(parts, number + 1, _LIMITED)]
    if limit[0].word.isdigit() and int(limit[0].word) >= _MANY:
        return  # it limits nothing, and keeps the planner from merging two queries
    yield _site("limit", limit, str(_ENDLESS) if literal else f"(…) + {_ENDLESS}")


def _locks(parts: Sequence[Token | Group], number: int) -> Iterator[Site]:
    end = number + 1
    while end < len(parts) and (parts[end].word in _LOCKS or parts[end - 1].word in ("of", ",")):
        end += 1
    yield _site("lock", parts[number:end], "")
    if parts[end - 1].word == "locked":
        yield _site("skip", parts[end - 2 : end], "")


def _end_of_order(parts: Sequence[Token | Group], number: int) -> int:
    """Where the keys of an order end: before a clause, or before a placeholder that follows a key."""
    while number < len(parts):
        word = parts[number].word
        follows = parts[number - 1].word not in ("by", ",", *_OPERATORS)
        if word in {"limit", "rows", "range"} | _LIMITED or (_is_placeholder(word) and follows and word[0] == ":"):
            break
        number += 1
    return number


_UPSERT: Final = re.compile(
    r"(?P<pass>\bon\s+conflict(?:\s*\([^()]*\))?\s+do\s+nothing\b)|(?P<ignore>(?<=insert|update)\s+(?:or\s+)?ignore\b)"
    r"|(?P<keep>\bon\s+duplicate\s+key\s+update\b.*\Z)",
    re.DOTALL,
)


def _upserts(sql: str) -> Iterator[Site]:
    for found in _UPSERT.finditer(sql):
        yield Site("upsert", found.start(), found.end(), "")
