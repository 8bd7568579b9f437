"""The API's own description, OpenAPI 3.1: bodies, problem documents, and who signs what."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from serve_app.asking import BODIES
from stillhouse.wire.problems import Problem

SIGNED = {
    "type": "apiKey",
    "in": "header",
    "name": "Signature",
    "description": "RFC 9421, Ed25519, tag stillhouse; Signature-Input beside it",
}
OPEN_PATHS = ("/healthz", "/readyz", "/endpoints", "/trust_anchors", "/enrolments")


def describe(app: FastAPI) -> dict[str, Any]:
    """The document; made once a process."""
    document = get_openapi(
        title=app.title, version=app.version, routes=app.routes, description=app.description
    )
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {
                "description": "A problem document (RFC 9457)", "content": problem
            }  # fmt: skip
            operation["security"] = [] if path.startswith(OPEN_PATHS) else [{"signed": []}]
    _, schemas = models_json_schema(
        [(body, "validation") for _, body in sorted(BODIES.items())] + [(Problem, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = {"signed": SIGNED}
    components["schemas"] = {**components.get("schemas", {}), **schemas["$defs"]}
    return document
