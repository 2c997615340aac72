"""Inputs of a form for a JSON schema, and the answer that a form gives.

An object has an input for each member; anything else has one for the whole. What has no input of its own is entered as
JSON. The caller checks that the answer fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from romancy.dashboard._fields import Field, json_of, object_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.dashboard._guard import Form

__all__ = ["Asked", "inputs_for"]

_WHOLE: Final = "answer"


class Asked(NamedTuple):
    """The inputs for an answer."""

    fields: list[Field]
    members: bool
    """Whether the inputs are the members of an object, and not the whole."""

    def answer(self, form: Form) -> Any:
        """The answer of a form. Raises RefusedError for an unreadable value."""
        if self.members:
            return msgspec.json.decode(object_of(self.fields, form))
        return msgspec.json.decode(json_of(self.fields[0], form) or b"null")


def inputs_for(schema: Mapping[str, Any]) -> Asked:
    """The inputs for what a schema describes."""
    whole = _resolved(schema, schema)
    members = whole.get("properties")
    if whole.get("type") != "object" or not isinstance(members, dict) or not members:
        return Asked([_field(_WHOLE, whole, schema, required=True)], members=False)
    needed = whole.get("required", [])
    parts = cast("Mapping[str, Any]", members)
    return Asked([_field(name, part, schema, required=name in needed) for name, part in parts.items()], members=True)


def _resolved(part: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a part; that of the one option beside null, if it may be null."""
    for _ in range(8):
        if not isinstance(part, dict):
            return {}
        known = cast("Mapping[str, Any]", part)
        if "$ref" in known:
            name = str(known["$ref"]).rpartition("/")[2]
            part = root.get("$defs", {}).get(name, {})
            continue
        return known
    return {}


def _field(name: str, part: Any, root: Mapping[str, Any], *, required: bool) -> Field:
    known = _resolved(part, root)
    options = [one for one in known.get("anyOf", []) if one != {"type": "null"}]
    if len(options) == 1 and not required:
        known = _resolved(options[0], root)
    kind = str(known.get("type", "")) or "anything"
    words = " ".join(filter(None, [kind, str(known.get("description", ""))]))
    choices: Any = [known["const"]] if "const" in known else known.get("enum")
    if isinstance(choices, list):
        told = tuple(msgspec.json.encode(one).decode() for one in msgspec.convert(choices, tuple[Any, ...]))
        return Field(name, "choice", "one of these", required, told)
    if kind == "boolean":
        return Field(name, "choice", words, required, ("true", "false"))
    if kind == "string":
        return Field(name, "text", words, required)
    if kind in ("integer", "number"):
        return Field(name, "number", words, required)
    return Field(name, "json", words, required)
