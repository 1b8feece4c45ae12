"""The API's own description."""

from __future__ import annotations

import json
from typing import Any

from halfgateway.api.docs_page import CONTENT_SECURITY_POLICY, docs_page
from halfgateway.api.operation import Call, Text, operation
from halfgateway.api.paths import API

_NOT_AN_ACT = "a public document"


class DocumentRoutes:
    """Serves the OpenAPI document and the page made from it; both are written once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._json = json.dumps(document, ensure_ascii=False)
        self._page = docs_page(document)

    @operation("GET", f"{API}/openapi.json", summary="Give the OpenAPI document", roles=None, untraced=_NOT_AN_ACT)
    async def give_openapi(self, call: Call) -> Text:
        """Give the document."""
        return Text(self._json)

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
        return Text(self._page)
