"""What a model has said, of the JSON that the log has of its answer. Pure.

Known are the answers of pydantic-ai, of LangChain and LangGraph, and of the Agents SDK of OpenAI.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Called", "Said", "said_in"]

_LARGEST: Final = 512 * 1024
"""Bytes of an answer that is looked into."""
_DEEPEST: Final = 8
_LONGEST: Final = 6_000
_MOST: Final = 100
_REASONING: Final = ("thinking", "reasoning", "redacted_thinking")


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a tool that a model asked for."""

    id: str
    name: str
    arguments: bytes
    """As JSON."""


@dataclass(slots=True)
class Said:
    """An answer of a model."""

    texts: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    calls: list[Called] = field(default_factory=list[Called])
    tokens: tuple[int, int] = (0, 0)
    """Those that were given and those that were made."""
    cost: Decimal = Decimal(0)
    model: str = ""
    cut: bool = False
    """Whether there is more than what is shown."""

    def say(self, text: object, *, reasons: bool = False) -> None:
        """Add a text."""
        if not isinstance(text, str) or not text.strip():
            return
        shown = self.reasoning if reasons else self.texts
        if len(text) > _LONGEST or len(shown) >= _MOST:
            self.cut = True
        if len(shown) < _MOST:
            shown.append(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")

    def call(self, id_: object, name: object, arguments: object) -> None:
        """Add a call."""
        if len(self.calls) >= _MOST:
            self.cut = True
            return
        raw = arguments.encode() if isinstance(arguments, str) else msgspec.json.encode(arguments)
        self.calls.append(Called(str(id_ or ""), str(name or "?"), raw))

    def use(self, given: object, made: object) -> None:
        """Add tokens."""
        self.tokens = (self.tokens[0] + _number(given), self.tokens[1] + _number(made))


def said_in(raw: bytes) -> Said | None:
    """What a model has said in the result of a step, or None if it is no answer of a model."""
    if not raw or len(raw) > _LARGEST:
        return None
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    said = Said()
    if isinstance(value, dict):
        whole = cast("dict[str, Any]", value)
        if isinstance(whole.get("parts"), list):
            _of_parts(whole, said)
            return said
        if isinstance(whole.get("output"), list):
            _of_output(whole, said)
            return said
    found = False
    for message in _messages(cast("object", value), 0):
        if str(message.get("type")).lower() in ("ai", "aimessagechunk"):
            found = True
            _of_message(message.get("data"), said)
    return said if found else None


def _of_parts(response: Mapping[str, Any], said: Said) -> None:
    """An answer of pydantic-ai."""
    for part in _objects(response["parts"]):
        kind = part.get("part_kind")
        if kind == "tool-call":
            said.call(part.get("tool_call_id"), part.get("tool_name"), part.get("args") or {})
        else:
            said.say(part.get("content"), reasons=kind == "thinking")
    usage = _object(response.get("usage"))
    said.use(usage.get("input_tokens"), usage.get("output_tokens"))
    said.cost = _amount(usage.get("cost"))
    said.model = str(response.get("model_name") or "")


def _of_output(response: Mapping[str, Any], said: Said) -> None:
    """An answer of OpenAI."""
    for item in _objects(response["output"]):
        if "arguments" in item:
            said.call(item.get("call_id"), item.get("name"), item["arguments"])
        for block in (*_objects(item.get("content")), *_objects(item.get("summary"))):
            said.say(block.get("text"), reasons=item.get("type") == "reasoning")
    usage = _object(response.get("usage"))
    said.use(usage.get("input_tokens"), usage.get("output_tokens"))


def _of_message(data: object, said: Said) -> None:
    """A message of LangChain."""
    message = _object(data)
    content: object = message.get("content")
    said.say(content)
    for block in _objects(content):
        reasons = block.get("type") in _REASONING
        said.say(block.get("text") or block.get("reasoning") or block.get("thinking"), reasons=reasons)
    for call in _objects(message.get("tool_calls")):
        said.call(call.get("id"), call.get("name"), call.get("args") or {})
    usage, told = _object(message.get("usage_metadata")), _object(message.get("response_metadata"))
    said.use(usage.get("input_tokens"), usage.get("output_tokens"))
    said.model = str(told.get("model_name") or said.model)


def _messages(value: object, depth: int) -> Iterator[dict[str, Any]]:
    """The messages of LangChain within a value."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _messages(one, depth + 1)
    elif isinstance(value, dict):
        held = cast("dict[str, Any]", value)
        if held.get("$") == "message":
            yield held
            return
        for one in held.values():
            yield from _messages(one, depth + 1)


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: object) -> Iterator[dict[str, Any]]:
    many = cast("list[object]", value) if isinstance(value, list) else []
    return (cast("dict[str, Any]", one) for one in many if isinstance(one, dict))


def _amount(value: object) -> Decimal:
    """An amount of money, as a library has written it."""
    try:
        amount = Decimal(str(value)) if isinstance(value, (str, int, float)) else Decimal(0)
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() else Decimal(0)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
