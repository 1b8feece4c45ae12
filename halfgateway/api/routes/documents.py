"""The API's own description."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from halfgateway.api.docs_page import CONTENT_SECURITY_POLICY, docs_page
from halfgateway.api.operation import Call, Text, operation
from halfgateway.api.paths import API

_NOT_AN_ACT = "a public document"


class _Written(NamedTuple):
    json: str
    page: str


class DocumentRoutes:
    """Serves the OpenAPI document and the page made from it.

    ``describe`` takes a quarter of a second: it is asked once, beside the loop, by the first who wants to read it, and
    keeps no node from starting.
    """

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe = describe

    @cached_property
    def _written(self) -> _Written:
        document = self._describe()
        return _Written(json.dumps(document, ensure_ascii=False), docs_page(document))

    @operation("GET", f"{API}/openapi.json", summary="Give the OpenAPI document", roles=None, untraced=_NOT_AN_ACT)
    async def give_openapi(self, call: Call) -> Text:
        """Give the document."""
        return Text((await self._read()).json)

    @operation(
        "GET",
        f"{API}/docs",
        summary="Show the API's documentation",
        roles=None,
        untraced=_NOT_AN_ACT,
        media_type="text/html; charset=utf-8",
    )
    async def show_docs(self, call: Call) -> Text:
        """Show the page, which needs nothing from elsewhere."""
        call.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return Text((await self._read()).page)

    async def _read(self) -> _Written:
        return await asyncio.to_thread(lambda: self._written)
