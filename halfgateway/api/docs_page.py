"""The OpenAPI document as one page for people: no script, no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources
from typing import Any

Json = dict[str, Any]

_STYLE = resources.files("halfgateway.api").joinpath("docs.css").read_text(encoding="utf-8")
_STYLE_SHA256 = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_SHA256}'; frame-ancestors 'none'"
"""Lets the page's own style in, and nothing else."""

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head>
<body><main>
<h1>{title}</h1>
<p>{description}</p>
<p>The same for machines: <a href="openapi.json">openapi.json</a></p>
{operations}
<h2>Schemas</h2>
{schemas}
</main></body>
</html>
"""


def docs_page(document: Json) -> str:
    """Write the page of an OpenAPI document."""
    info = document["info"]
    operations = (
        _operation(method, path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    )
    schemas = (_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    return _PAGE.format(
        title=escape(f"{info['title']} {info['version']}"),
        style=_STYLE,
        description=escape(info["description"]),
        operations="\n".join(operations),
        schemas="\n".join(schemas),
    )


def _operation(method: str, path: str, described: Json) -> str:
    inputs = [
        (f"{parameter['name']} ({parameter['in']})", _type(parameter["schema"]))
        for parameter in described.get("parameters", ())
    ]
    inputs += [("body", _type(body)) for body in _content_schemas(described.get("requestBody", {}))]
    answers = [
        (status, ", ".join([escape(answer["description"]), *map(_type, _content_schemas(answer))]))
        for status, answer in described["responses"].items()
    ]
    heading = f'<span class="method">{method.upper()}</span> <code>{escape(path)}</code>'
    return (
        f'<section id="{escape(described["operationId"])}"><h2>{heading}</h2>'
        f"<p>{escape(described['summary'])}</p>"
        f"<p>{escape(described.get('description', 'No login needed'))}</p>"
        f"{_table(inputs)}{_table(answers)}</section>"
    )


def _schema(name: str, schema: Json) -> str:
    text = json.dumps(schema, ensure_ascii=False, indent=2)
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3><pre>{escape(text)}</pre></section>'


def _content_schemas(holder: Json) -> list[Json]:
    return [media["schema"] for media in holder.get("content", {}).values()]


def _type(schema: Json) -> str:
    """A link to a schema by its name, or the schema itself if it is short enough to have none."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    facts = {key: value for key, value in schema.items() if key not in {"title", "description"}}
    return f"<code>{escape(json.dumps(facts, ensure_ascii=False))}</code>"


def _table(rows: list[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{content}</td></tr>" for name, content in rows)
    return f"<table>{lines}</table>" if rows else ""
