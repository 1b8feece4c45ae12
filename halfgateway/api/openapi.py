"""The OpenAPI 3.1 document, made from the declared operations and their models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from halfgateway.api.operation import JSON_MEDIA_TYPE, Operation
from halfgateway.api.problems import PROBLEM_MEDIA_TYPE, Problem
from halfgateway.errors import Refusal

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "halfgateway_session"},
}


def openapi_document(operations: Sequence[Operation], *, version: str, description: str) -> Json:
    """Describe every operation; references are resolved within the document alone."""
    schemas = _Schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Demi-Passerelle Partenaire", "version": version, "description": description},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas.definitions, "securitySchemes": _SECURITY},
    }


class _Schemas:
    """The models of all operations, each defined once."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
        for operation in operations:
            for model in (operation.path_model, operation.query_model, operation.body_model):
                if model is not None:
                    wanted[model, "validation"] = None
            if operation.answer_model is not None:
                wanted[operation.answer_model, "serialization"] = None
        self._references, definitions = models_json_schema(list(wanted), ref_template=_REF)
        self.definitions: Json = definitions["$defs"]

    def reference(self, model: type[BaseModel], mode: JsonSchemaMode) -> Json:
        """The schema of a model, by reference."""
        return dict(self._references[model, mode])

    def parameters(self, model: type[BaseModel], place: str) -> list[Json]:
        """A path's or query's fields, as parameters."""
        schema = self.definitions[self._references[model, "validation"]["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        return [
            {"name": name, "in": place, "required": name in required, "schema": _without_null(field)}
            for name, field in schema.get("properties", {}).items()
        ]


def _describe(operation: Operation, schemas: _Schemas) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(operation.status): _success(operation, schemas), **_refusals(operation, schemas)},
    }
    parameters = [
        parameter
        for model, place in ((operation.path_model, "path"), (operation.query_model, "query"))
        if model is not None
        for parameter in schemas.parameters(model, place)
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body_model is not None:
        schema = schemas.reference(operation.body_model, "validation")
        described["requestBody"] = {"required": True, "content": {JSON_MEDIA_TYPE: {"schema": schema}}}
    if operation.roles is not None:
        described["description"] = "Roles: " + ", ".join(sorted(operation.roles))
        described["security"] = [{scheme: []} for scheme in _SECURITY]
    return described


def _success(operation: Operation, schemas: _Schemas) -> Json:
    answer: Json = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer_model is not None:
        schema = schemas.reference(operation.answer_model, "serialization")
        answer["content"] = {operation.media_type: {"schema": schema}}
    elif operation.files:
        answer["content"] = {each: {"schema": {"type": "string", "format": "binary"}} for each in operation.files}
    elif operation.status != HTTPStatus.NO_CONTENT:
        kind = "object" if operation.media_type == JSON_MEDIA_TYPE else "string"
        answer["content"] = {operation.media_type: {"schema": {"type": kind}}}
    return answer


def _refusals(operation: Operation, schemas: _Schemas) -> dict[str, Json]:
    content = {PROBLEM_MEDIA_TYPE: {"schema": schemas.reference(Problem, "serialization")}}
    by_status = groupby(sorted(set(operation.errors), key=_status_and_code), key=lambda error: error.http_status)
    refusals = {
        str(status): {"description": ", ".join(error.code for error in errors), "content": content}
        for status, errors in by_status
    }
    if operation.body_model is not None:
        for status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
            refusals[str(status.value)] = {"description": status.phrase, "content": content}
    return refusals


def _status_and_code(error: type[Refusal]) -> tuple[int, str]:
    return error.http_status, error.code


def _without_null(field: Json) -> Json:
    """A parameter is given or absent, never null."""
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    if not options:
        return field
    rest = {name: value for name, value in field.items() if name not in {"anyOf", "default"}}
    return {**options[0], **rest} if len(options) == 1 else {**rest, "anyOf": options}
