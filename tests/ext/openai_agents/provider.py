"""A server that speaks as OpenAI does: it counts requests, refuses, streams, hangs, resets and sees disconnects."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

How = Literal["answer", "call", "hang", "hang in stream", "reset", "reset in stream"]


@dataclass
class Refusal:
    """An answer with an HTTP status that is an error."""

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    error: dict[str, Any] = field(default_factory=lambda: {"message": "refused", "code": "no", "type": "t"})


@dataclass
class Provider:
    """What the server is to do at each request, and what it has seen."""

    script: list[How | Refusal] = field(default_factory=list[How | Refusal])
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has closed the connection of a request that hangs."""
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """A stream is reset once this is set: a reader has seen what it said."""
    url: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")
            )
            asked = json.loads(await reader.readexactly(length))
            self.requests.append(asked)
            self.asked.set()
            await self._answer(self.script.pop(0) if self.script else "answer", asked, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, how: How | Refusal, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(how, Refusal):
            body = json.dumps({"error": how.error}).encode()
            _head(
                writer,
                how.status,
                {"content-type": "application/json", "content-length": str(len(body)), **how.headers},
            )
            writer.write(body)
        elif how == "reset":
            writer.transport.abort()
        elif how == "hang":
            await self._hang(reader)
        elif not asked.get("stream"):
            body = json.dumps(_response(how, asked)).encode()
            _head(writer, 200, {"content-type": "application/json", "content-length": str(len(body))})
            writer.write(body)
        else:
            _head(writer, 200, {"content-type": "text/event-stream"})
            for event in _events(how, asked):
                writer.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
                await writer.drain()
                if how == "reset in stream" and event["type"] == "response.output_text.delta":
                    await self.seen.wait()
                    writer.transport.abort()
                    return
                if how == "hang in stream" and event["type"] == "response.output_text.delta":
                    await self._hang(reader)
                    return
        await writer.drain()

    async def _hang(self, reader: asyncio.StreamReader) -> None:
        await reader.read()
        self.gone.set()


@asynccontextmanager
async def serving(*script: How | Refusal) -> AsyncGenerator[Provider]:
    """Serve until the block ends."""
    provider = Provider(list(script))
    server = await asyncio.start_server(provider.handle, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield provider
    finally:
        server.close()


def _head(writer: asyncio.StreamWriter, status: int, headers: dict[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} X", "connection: close", "x-request-id: req_1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())


def _message(text: str) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def _response(how: How, asked: dict[str, Any], output: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    if output is None:
        tool = {"id": "f", "type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"city": "Rome"}'}
        output = [tool] if how == "call" else [_message("all is well")]
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {
        "id": "resp", "object": "response", "created_at": 1, "model": asked["model"], "status": "completed",
        "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage | details,
        "unknown_to_types": [1],
    }  # fmt: skip


def _events(how: How, asked: dict[str, Any]) -> list[dict[str, Any]]:
    whole = _response(how, asked)
    events: list[dict[str, Any]] = [{"type": "response.created", "response": _response(how, asked, [])}]
    for number, item in enumerate(whole["output"]):
        events.append({"type": "response.output_item.added", "output_index": number, "item": item})
        if item["type"] == "message":
            events += [
                {
                    "type": "response.output_text.delta", "item_id": "m", "output_index": number, "content_index": 0,
                    "delta": word, "logprobs": [],
                }
                for word in ("all ", "is ", "well")
            ]  # fmt: skip
        events.append({"type": "response.output_item.done", "output_index": number, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [event | {"sequence_number": number} for number, event in enumerate(events)]
