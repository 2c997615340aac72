"""The part for the asynchronous browser."""

from typing import Any

from playwright.async_api import Page

class AxeResults:
    response: dict[str, Any]
    @property
    def violations_count(self) -> int: ...
    def generate_report(self) -> str: ...

class Axe:
    async def run(self, page: Page, *, options: dict[str, Any] | None = None) -> AxeResults: ...
