"""Requests made up from the API's own description: whatever is sent, no answer is a bug, and all are as described."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema
from tests.prediction.real_server import Served

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip

POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
POSTS = ("/v1/predict", "/v1/grad-cam", "/v1/diagnoses")
READING = ("/v1/model", "/v1/model/card", "/healthz", "/readyz", "/metrics")


@pytest.fixture(scope="module")
def described(shared: Served) -> OpenApiSchema:
    return schemathesis.openapi.from_url(f"{shared.address}openapi.json")


def test_no_operation_is_left_out(described: OpenApiSchema) -> None:
    operations = [one.ok() for one in described.get_all_operations() if isinstance(one, Ok)]
    found = {(operation.method.upper(), operation.path) for operation in operations}
    assert found == {("POST", path) for path in POSTS} | {("GET", path) for path in READING}


@pytest.mark.parametrize("examples", [12, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE])
@pytest.mark.parametrize("path", POSTS)
def test_whatever_is_sent_the_answer_is_as_described(
    described: OpenApiSchema, path: str, mode: schemathesis.GenerationMode, examples: int
) -> None:
    send(described[path]["POST"], mode, examples)


@pytest.mark.parametrize("path", READING)
def test_whatever_is_asked_the_answer_is_as_described(described: OpenApiSchema, path: str) -> None:
    send(described[path]["GET"], POSITIVE, 5)  # it takes nothing that could be wrong


def send(operation: Any, mode: schemathesis.GenerationMode, examples: int) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def send_one(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS)

    send_one()
