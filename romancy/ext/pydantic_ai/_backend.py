"""Runs an operation of pydantic-ai as a step of the workflow whose body asks for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from pydantic_ai._utils import _disable_threads  # pyright: ignore[reportPrivateUsage] - there is no public inverse
from pydantic_ai.durable_exec import JSON_CODEC, DurabilityCodec, JournalCallableOperationBackend
from pydantic_ai.exceptions import FallbackExceptionGroup, ModelAPIError

from romancy.context import current_workflow
from romancy.errors import SerializationError, TerminalError
from romancy.ext._agents.names import fitting
from romancy.ext._agents.options import StepOptions, policy_of
from romancy.ext.pydantic_ai._about import about_of
from romancy.ext.pydantic_ai._errors import RAISED, made_ready, restored
from romancy.ext.pydantic_ai._options import NOT_MENDED
from romancy.ext.pydantic_ai._sessions import in_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from pydantic_ai.durable_exec import DurableOperationConfig, DurableOperationId
    from pydantic_ai.mcp import MCPToolset

__all__ = ["CODEC", "NotJsonError", "StepBackend"]


class NotJsonError(Exception):
    """A result of an operation cannot be stored."""


class _Codec(DurabilityCodec):
    """JSON, read with an error that pydantic-ai does not take for bad arguments of the model."""

    def dump(self, tp: Any, value: Any) -> Any:
        return JSON_CODEC.dump(tp, value)

    def load(self, tp: Any, payload: Any) -> Any:
        try:
            return JSON_CODEC.load(tp, payload)
        except ValidationError as error:
            raise SerializationError(f"a result in the log no longer fits pydantic-ai's type of it: {error}") from error


CODEC: Final = _Codec()


class StepBackend(JournalCallableOperationBackend[StepOptions]):
    """Each operation is a step, under the name that pydantic-ai's journals have for it."""

    def __init__(
        self,
        *,
        agent_name: str,
        default_model_id: str | None,
        config: DurableOperationConfig[StepOptions],
        servers: Mapping[str, MCPToolset[Any]],
        show_prompts: bool,
    ) -> None:
        """`servers` are the agent's MCP toolsets whose sessions its steps share, by their ids."""
        super().__init__(agent_name=agent_name, default_model_id=default_model_id, config=config)
        self._agent_name = agent_name
        self._servers = servers
        self._show_prompts = show_prompts

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: StepOptions,
    ) -> object:
        async def attempt() -> Any:
            with _as_outside():
                try:
                    return await body()
                except ModelAPIError as error:
                    made_ready(error)
                    raise
                except NotJsonError as error:
                    raise TerminalError(
                        f"the result of {name!r} is no JSON: {error}; return what pydantic can dump"
                    ) from error

        server = self._servers.get(getattr(operation_id, "toolset_id", ""))
        try:
            return await current_workflow().step(
                fitting(name),
                attempt if server is None else in_session(server, operation_id, attempt),
                model=Any,
                retry=policy_of(config.retry, NOT_MENDED),
                timeout=config.timeout,
                heartbeat_timeout=config.heartbeat_timeout,
                raises=RAISED,
                about=about_of(operation_id, cache_key, self._agent_name, prompts=self._show_prompts),
            )
        except (ModelAPIError, FallbackExceptionGroup) as error:
            again = restored(error)
            if again is error:
                raise
            raise again from error.__cause__


@contextmanager
def _as_outside() -> Generator[None]:
    """Plain functions run on threads again, as the body forbids."""
    token = _disable_threads.set(False)
    try:
        yield
    finally:
        _disable_threads.reset(token)
