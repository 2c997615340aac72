"""The parts that a user installs, the core and its extras, and the tests of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tools.machines.suite import WITHOUT_SERVERS

_CONTRACT: Final = "conformance_tests/romancy_conformance/contract"
_BEHAVIOUR: Final = "conformance_tests/romancy_conformance/behaviour"

TOOLS: Final = (
    *("attrs", "hypothesis", "pydantic", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "uvloop"),
    *("editables", "hatchling", "packaging"),  # to install the tree
)
"""What the tests of every part need, beside the part itself."""


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

    @property
    def name(self) -> str:
        return f"romancy[{self.extra}]" if self.extra else "romancy"

    @property
    def selected(self) -> tuple[str, ...]:
        left = (f"--{'deselect' if '::' in name else 'ignore'}={name}" for name in self.without)
        return (*self.tests, *left)


PARTS: Final = (
    Part(
        "",
        (
            *(f"tests/{name}" for name in ("authoring", "cli", "core", "engine", "insight", "serialization")),
            *("tests/storage", "tests/sync", "tests/testing", "tests/backends/sqlite", _CONTRACT, _BEHAVIOUR),
        ),
        ("tests/cli/test_mistakes.py", "tests/core/test_run.py", f"{_BEHAVIOUR}/test_running.py"),
        tools=("aiosqlite",),
        without=(
            *("tests/cli/test_dashboard.py", "tests/cli/test_reloading.py", "tests/cli/test_serving.py"),
            "tests/cli/test_mistakes.py::test_a_server_that_does_not_answer_is_named",
            "tests/sync/test_twin.py::test_the_files_are_current",  # it needs ruff
        ),
    ),
    Part(
        "postgres",
        ("tests/backends/postgres", _CONTRACT),
        ("tests/backends/postgres/test_connections.py", f"{_CONTRACT}/test_log.py"),
        backends="postgres",
    ),
    Part(
        "mysql",
        ("tests/backends/mysql", _CONTRACT),
        ("tests/backends/mysql/test_protocol.py", f"{_CONTRACT}/test_log.py"),
        backends="mysql,mariadb",
    ),
    Part(
        "http",
        ("tests/http", "tests/outbox", "tests/ext/test_starlette.py", "tests/cli/test_serving.py"),
        ("tests/outbox/test_http_sender.py", "tests/http/test_signatures.py"),
        tools=("fastapi", "gunicorn", "schemathesis", "standardwebhooks", "stripe", "uvicorn"),
    ),
    Part(
        "ui",
        ("tests/dashboard", "tests/cli/test_dashboard.py", "tests/cli/test_reloading.py"),
        ("tests/dashboard/test_instances.py", "tests/cli/test_dashboard.py"),
        tools=("axe-playwright-python", "httpx2", "playwright"),
    ),
    Part(
        "otel",
        ("tests/ext/otel",),
        ("tests/ext/otel/test_spans.py",),
        tools=("cloudevents", "httpx2", "opentelemetry-proto", "opentelemetry-sdk", "pyyaml", "starlette"),
    ),
    Part(
        "sqlalchemy",
        ("tests/sessions", "tests/sync"),
        ("tests/sessions",),
        without=("tests/sync/test_twin.py::test_the_files_are_current",),
        tools=("aiosqlite", "aiomysql", "asyncpg", "psycopg[binary]", "psycopg2-binary", "pymysql"),
    ),
    Part("django", ("tests/ext/django",), ("tests/ext/django",)),
    Part("conformance", ("tests/conformance", "tests/cli/test_conforming.py"), ("tests/conformance/test_plugin.py",)),
)
ALIASES: Final = {"postgresql": "postgres", "mariadb": "mysql", "all": ""}
"""Extras that are other names: of one part, or of all."""
