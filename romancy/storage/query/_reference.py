"""The reference: what a filter means, in terms of the document itself.

It uses no keys, words or conditions, and is written for clarity alone. Every database must answer as this does. Only
one thing comes from elsewhere: which documents are searchable, because the size of the projection defines that limit.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from romancy.storage.query._filters import Clause, Relation, read_filters
from romancy.storage.query._paths import MAX_DEPTH
from romancy.storage.query._projection import project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.query._filters import FilterValue
    from romancy.storage.query._leaves import Json, Scalar
    from romancy.storage.query._paths import Path

__all__ = ["matches"]

_ABSENT: Final = object()
_MAX_SORTED_BYTES = 512


def matches(raw_json: bytes, filters: Mapping[str, FilterValue] | None, bare: str | None = None) -> bool:
    """Whether a document, given as its JSON text, matches all filters. `QueryError` if the filters are malformed.

    A path whose first segment is no member of the document leads into its member `bare`.
    """
    clauses = read_filters(filters)
    if not clauses:
        return True
    if project(raw_json) is None:
        return False
    document: Json = json.loads(raw_json.decode(), parse_int=_integer)
    return all(_satisfied(_follow(document, _whole(document, clause.path, bare)), clause) for clause in clauses)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits.lstrip("-")) <= 512 else math.inf  # noqa: PLR2004 - the documented limit


def _whole(document: Json, path: Path, bare: str | None) -> Path:
    return path if bare is None or path[0] in _members(document) else (bare, *path)


def _follow(document: Json, path: Path) -> object:
    if len(path) > MAX_DEPTH:
        return _ABSENT
    place = document
    for segment in path:
        members = _members(place)
        if segment not in members:
            return _ABSENT
        place = members[segment]
    return place


def _members(place: Json) -> dict[str, Json]:
    if isinstance(place, list):
        return {str(index): element for index, element in enumerate(place)}
    return place if isinstance(place, dict) else {}


def _satisfied(found: Any, clause: Clause) -> bool:
    operands = clause.operands
    match clause.relation:
        case Relation.EQUAL:
            return _equal(found, operands[0])
        case Relation.UNEQUAL:
            return found is not _ABSENT and not _equal(found, operands[0])
        case Relation.ONE_OF:
            return any(_equal(found, operand) for operand in operands)
        case Relation.IS_NULL:
            return found is None
        case Relation.MISSING:
            return found is _ABSENT
        case Relation.STARTS_WITH:
            return _is_sorted_string(found) and found.startswith(operands[0])
        case Relation.CONTAINS:
            return _is_sorted_string(found) and operands[0] in found
        case Relation.GREATER | Relation.GREATER_EQUAL | Relation.LESS | Relation.LESS_EQUAL:
            return _in_range(found, clause.relation, operands[0])


def _equal(found: Any, wanted: Scalar) -> bool:
    if wanted is None:
        return found is None or found is _ABSENT
    if isinstance(wanted, (bool, str)):
        return type(found) is type(wanted) and found == wanted
    if not _is_number(found):
        return False
    if _is_sorted_number(found) and _is_sorted_number(wanted):
        return bool(found == wanted)
    return type(found) is int and type(wanted) is int and found == wanted


def _in_range(found: Any, relation: Relation, bound: Any) -> bool:
    if isinstance(bound, str):
        if not _is_sorted_string(found):
            return False
    elif not (_is_number(found) and _is_sorted_number(found)):
        return False
    if found == bound:
        return relation in (Relation.GREATER_EQUAL, Relation.LESS_EQUAL)
    return bool(found > bound) is (relation in (Relation.GREATER, Relation.GREATER_EQUAL))


def _is_sorted_string(found: Any) -> bool:
    return isinstance(found, str) and len(found.encode("utf-8", "surrogatepass")) <= _MAX_SORTED_BYTES


def _is_number(found: Any) -> bool:
    return isinstance(found, (int, float)) and not isinstance(found, bool)


def _is_sorted_number(number: float) -> bool:
    return -(2**63) <= number < 2**63 if isinstance(number, int) else math.isfinite(number)
