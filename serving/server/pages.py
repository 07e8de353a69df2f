# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The pages for people: one to try a model on, and one of the API.

Both hold no data and bring all that they need; what they show they ask this server for.
Browsers are told to let them do no more than that.
"""

import base64
import hashlib
import importlib.resources
import re
from collections.abc import Awaitable, Callable

import swagger_ui_bundle
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

_API = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Shortlist: the API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "openapi.json", dom_id: "#ui"})</script></body></html>
"""
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def routes() -> list[BaseRoute]:
    """Returns the routes of the pages and of Swagger UI's own files."""
    text = (
        importlib.resources.files("serving.server")
        .joinpath("page.html")
        .read_text("utf-8")
    )
    only_text = "require-trusted-types-for 'script'"
    return [
        Route("/", _page(text, _policy(text) + [only_text])),
        # Swagger UI sets styles of elements one by one.
        Route("/docs", _page(_API, _policy(_API, "'self'", "'self' 'unsafe-inline'"))),
        Mount("/docs", StaticFiles(directory=str(swagger_ui_bundle.swagger_ui_path))),
    ]


def _policy(text: str, script: str = "", style: str = "") -> list[str]:
    """Returns a Content-Security-Policy under which a page's own code runs.

    Args:
      text: The page.
      script: Sources of scripts beside those that stand in it.
      style: The same of styles.
    """
    sources = {"script": script, "style": style}
    for kind, content in _INLINE.findall(text):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        sources[kind] += f" 'sha256-{digest}'"
    return [
        "default-src 'none'",
        *(f"{kind}-src {allowed.strip()}" for kind, allowed in sources.items()),
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]


def _page(text: str, policy: list[str]) -> Callable[[Request], Awaitable[Response]]:
    """Makes what answers a page's route."""
    headers = {
        "content-security-policy": "; ".join(policy),
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }

    async def page(request: Request) -> Response:
        return HTMLResponse(text, headers=headers)

    return page
