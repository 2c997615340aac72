"""The parts that a user installs, the core and its extras, and the tests of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools.machines.suite import WITHOUT_SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTRACT: Final = "conformance_tests/romancy_conformance/contract"
_BEHAVIOUR: Final = "conformance_tests/romancy_conformance/behaviour"

TOOLS: Final = (
    *("attrs", "hypothesis", "pydantic", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "uvloop"),
    *("editables", "packaging"),
)
"""What the tests of every part need, beside the part itself."""
_DRIVERS: Final = ("aiosqlite", "aiomysql", "asyncpg", "psycopg[binary]", "psycopg2-binary", "pymysql")
"""What `tests/sessions/libraries.py` imports."""


@dataclass(frozen=True)
class Part:
    """The core, or one extra."""

    extra: str
    """Its name in pyproject.toml; empty for the core."""
    tests: tuple[str, ...]
    """The files and folders of its tests."""
    sample: tuple[str, ...]
    """A few of them, which `make test-long` runs."""
    tools: tuple[str, ...] = ()
    """The packages that its tests need, beside `TOOLS`."""
    without: tuple[str, ...] = ()
    """Files and tests among `tests` that need another part."""
    backends: str = WITHOUT_SERVERS
    expected: str = ""
    """A warning that its lowest versions give by a fault of their own, as pytest's `-W` takes it."""

    @property
    def name(self) -> str:
        return f"romancy[{self.extra}]" if self.extra else "romancy"

    @property
    def all_tests(self) -> tuple[str, ...]:
        """Its tests, as pytest takes them."""
        return (*self.tests, *self._options())

    @property
    def some_tests(self) -> tuple[str, ...]:
        """Its sample, as pytest takes it."""
        return (*self.sample, *self._options())

    def _options(self) -> Iterator[str]:
        for name in self.without:
            yield f"--{'deselect' if '::' in name else 'ignore'}={name}"
        if self.expected:
            yield from ("-W", self.expected)


PARTS: Final = (
    Part(
        "",
        (
            *(f"tests/{name}" for name in ("authoring", "cli", "core", "engine", "insight", "serialization")),
            *("tests/storage", "tests/sync", "tests/testing", "tests/backends/sqlite", _CONTRACT, _BEHAVIOUR),
        ),
        ("tests/cli/test_mistakes.py", "tests/core/test_run.py", f"{_BEHAVIOUR}/workers/test_running.py"),
        tools=("aiosqlite",),
        without=(
            *("tests/cli/test_dashboard.py", "tests/cli/test_reloading.py", "tests/cli/test_serving.py"),
            *("tests/cli/test_conforming.py", "tests/cli/test_private.py", f"{_BEHAVIOUR}/outbox/test_relay.py"),
            *("tests/storage/test_backends.py", "tests/sync/test_calls.py"),
            "tests/cli/test_mistakes.py::test_a_server_that_does_not_answer_is_named",
            "tests/sync/test_twin.py::test_the_files_are_current",  # it needs ruff
        ),
    ),
    Part(
        "postgres",
        ("tests/backends/postgres", _CONTRACT),
        ("tests/backends/postgres/test_connections.py", f"{_CONTRACT}/test_log.py"),
        backends="postgres",
        expected="ignore:unclosed:ResourceWarning",  # asyncpg before 0.32, of a request to cancel
    ),
    Part(
        "mysql",
        ("tests/backends/mysql", "tests/storage/test_backends.py", _CONTRACT),
        ("tests/backends/mysql/test_protocol.py", f"{_CONTRACT}/test_log.py"),
        backends="mysql,mariadb",
    ),
    Part(
        "http",
        ("tests/http", "tests/outbox", "tests/cli/test_serving.py", f"{_BEHAVIOUR}/outbox/test_relay.py"),
        ("tests/outbox/test_http_sender.py", "tests/http/test_signatures.py"),
        tools=("fastapi", "gunicorn", "jinja2", "schemathesis", "standardwebhooks", "stripe", "uvicorn"),
    ),
    Part(
        "archive",
        ("tests/retaining", f"{_BEHAVIOUR}/operating/test_retention.py"),
        ("tests/retaining/test_places.py",),
    ),
    Part(
        "schedules",
        ("tests/schedules", f"{_BEHAVIOUR}/test_schedules.py"),
        ("tests/schedules/test_times.py",),
    ),
    Part(
        "ui",
        ("tests/dashboard", "tests/cli/test_dashboard.py", "tests/cli/test_private.py", "tests/cli/test_reloading.py"),
        ("tests/dashboard/test_instances.py", "tests/cli/test_dashboard.py"),
        tools=("axe-playwright-python", "cloudevents", "httpx2", "playwright"),
    ),
    Part(
        "otel",
        ("tests/ext/otel",),
        ("tests/ext/otel/test_spans.py",),
        tools=("cloudevents", "httpx2", "opentelemetry-proto", "opentelemetry-sdk", "pyyaml", "starlette"),
    ),
    Part(
        "langgraph",
        ("tests/ext/langgraph",),
        ("tests/ext/langgraph/test_graphs.py",),
        tools=("langchain",),
    ),
    Part(
        "pydantic-ai",
        ("tests/ext/pydantic_ai",),
        ("tests/ext/pydantic_ai/test_agents.py",),
        tools=("pydantic-ai-slim[mcp]", "opentelemetry-sdk"),
    ),
    Part(
        "openai-agents",
        ("tests/ext/openai_agents",),
        ("tests/ext/openai_agents/test_runs.py",),
    ),
    Part(
        "sqlalchemy",
        ("tests/sessions", "tests/sync"),
        ("tests/sessions",),
        without=("tests/sync/test_twin.py::test_the_files_are_current",),
        tools=_DRIVERS,
    ),
    Part("django", ("tests/ext/django",), ("tests/ext/django",), tools=(*_DRIVERS, "sqlalchemy[asyncio]")),
    Part(
        "conformance",
        ("tests/conformance", "tests/cli/test_conforming.py"),
        ("tests/conformance/test_plugin.py",),
        tools=("asyncpg",),
    ),
)
ALIASES: Final = {"postgresql": "postgres", "mariadb": "mysql", "all": ""}
"""Extras that are other names: of one part, or of all."""
