"""No secret is left in a text that many people read."""

from __future__ import annotations

import pytest

from skinlesion.foundation.redaction import without_secrets

SECRET = "s3cr3t-Value"

HIDDEN = {
    f"for url 'https://user:{SECRET}@host/path'": "for url 'https://host/path'",
    f"https://{SECRET}@host:8443/a": "https://host:8443/a",
    f"https://user:pa/{SECRET}@host/a": "https://host/a",
    f"https://user:pa@{SECRET}@host/a": "https://host/a",
    f"postgresql+psycopg2://airflow:{SECRET}@postgres/airflow is away": "postgresql+psycopg2://postgres/airflow is away",
    f"https://host/a.jpg?X-Amz-Signature={SECRET}&b=1": "https://host/a.jpg?***",
    f"HTTPS://host#{SECRET}": "HTTPS://host#***",
    f"Max retries exceeded with url: /a?page=2&token={SECRET} (Caused by x)": (
        "Max retries exceeded with url: /a?page=2&token=*** (Caused by x)"
    ),
    f"aws_secret_access_key={SECRET}, region=x": "aws_secret_access_key=***, region=x",
    f"AWSAccessKeyId={SECRET}": "AWSAccessKeyId=***",
    f"'Authorization': 'Bearer {SECRET}'": "'Authorization': 'Bearer ***'",
}
SHOWN = [
    "s3://bucket/prefix/a@b.jpg has no images",
    "MLflow at sqlite:////work/models/mlflow/mlflow.db cannot be written to",
    "http://[::1]:5000/a@b",
    "Expected a number=3 and key=value: 12:30, a/b@c",
    "https://example.org/a, https://example.org:8443/b.",
]


@pytest.mark.parametrize(("text", "shown"), HIDDEN.items())
def test_a_secret_is_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    """Lost otherwise: who reads a log can write to the store, the database or the chat."""
    assert without_secrets(text) == shown
    assert SECRET not in without_secrets(text)


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    "address",
    [f"https://hooks.example.org/services/T0/B0/{SECRET}", f"https://hooks.example.org/{SECRET}?a=1",
     f"https://me:{SECRET}@hooks.example.org/a"],
)  # fmt: skip
def test_scheme_and_host_alone_are_shown_where_the_path_is_the_secret(address: str) -> None:
    found = without_secrets(f"Client error '404' for url '{address}'\nSee {address}.", paths=False)
    assert found == "Client error '404' for url 'https://hooks.example.org'\nSee https://hooks.example.org"


def test_secrets_of_the_environment_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "SKINLESION_API_TOKEN"):
        monkeypatch.setenv(name, f"{SECRET}-{name}")
        assert without_secrets(f"the store says {SECRET}-{name} is wrong") == "the store says *** is wrong"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://admin:{SECRET}@mlflow:5000/a@b")
    assert SECRET not in without_secrets(f"the password {SECRET}@mlflow:5000/a is wrong")
    monkeypatch.setenv("SOME_TOKEN", "a")  # a word of every sentence
    assert without_secrets("a model") == "a model"
