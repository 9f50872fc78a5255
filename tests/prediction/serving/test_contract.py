"""Requests made up from the API's own description: whatever is sent, no answer is a bug, and all are as described."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = 40
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

OPERATIONS = (
    ("POST", "/v1/predict"), ("POST", "/v1/grad-cam"), ("GET", "/v1/model"), ("GET", "/v1/model/card"),
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
)  # fmt: skip


@pytest.fixture(scope="module")
def described(shared: Any) -> Any:
    return schemathesis.openapi.from_url(f"{shared.address}openapi.json")


def test_no_operation_is_left_out(described: Any) -> None:
    found = [operation.ok() for operation in described.get_all_operations()]
    assert sorted((one.method.upper(), one.path) for one in found) == sorted(OPERATIONS)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_as_described(described: Any, method: str, path: str, mode: Any) -> None:
    if method == "GET" and mode is schemathesis.GenerationMode.NEGATIVE:
        return  # it takes nothing that could be wrong

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES if method == "POST" else 5,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def send(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    send()
