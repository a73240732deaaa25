"""Secrets: keys, signatures, and what lies about in plain text."""

from datetime import date

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.readiness import security
from churn_assets.readiness.plain_secrets import plain_secrets
from churn_serving.key_file import add, generate

LONG = "k" * 64
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there


@pytest.fixture
def key_file(tmp_path):
    """Make a key file with a key a name; a date is its last day."""

    def make(**expires):
        path = tmp_path / "keys.yaml"
        for name, day in expires.items():
            add(path, generate(name, ["predict"], day)[1])
        return path

    return make


@pytest.mark.parametrize(
    ("host", "outcome"), [("127.0.0.1", "pass"), ("localhost", "pass"), ("::1", "pass"), (EVERYWHERE, "fail")]
)
def test_a_service_that_others_reach_needs_keys(place, host, outcome):
    assert place.configure(serving={"host": host, "allow_anonymous": True}).ask(security.keys).outcome == outcome


@pytest.mark.parametrize(
    ("expires", "outcome"),
    [
        ({"crm": None}, "pass"),
        ({"crm": None, "old": date(2026, 1, 19)}, "warn"),
        ({"crm": date(2026, 1, 20)}, "pass"),
        ({"old": date(2026, 1, 19)}, "fail"),
    ],
)
def test_keys_must_be_valid_today(place, key_file, expires, outcome):
    place.configure(serving={"host": EVERYWHERE, "api_keys_file": key_file(**expires)})
    assert place.ask(security.keys).outcome == outcome


def test_a_key_file_that_cannot_be_used_fails(place, tmp_path):
    place.configure(serving={"api_keys_file": tmp_path / "gone.yaml"})
    answer = place.ask(security.keys)
    assert answer.outcome == "fail"
    assert "gone.yaml" in answer.found


def test_the_key_file_is_for_its_owner_alone(place, key_file):
    assert place.ask(security.readable).outcome == "pass"
    path = key_file(crm=None)
    place.configure(serving={"api_keys_file": path})
    assert place.ask(security.readable).outcome == "pass"
    path.chmod(0o644)
    answer = place.ask(security.readable)
    assert (answer.outcome, answer.fix) == ("warn", f"chmod o-r {path}")
    assert "0644" in answer.found


def test_models_are_signed_with_a_long_key(place, monkeypatch):
    place.serve(1)
    assert place.ask(security.signing).outcome == "warn"
    monkeypatch.setenv("CHURN_SIGNING_KEY", "short")
    assert "5 characters" in place.ask(security.signing).found
    monkeypatch.setenv("CHURN_SIGNING_KEY", LONG)
    answer = place.ask(security.signing)
    assert answer.outcome == "fail"
    assert "unsigned" in answer.found
    place.serve(2)
    answer = place.ask(security.signing)
    assert answer.outcome == "pass"
    assert LONG not in answer.found


def test_a_key_without_a_model_has_signed_nothing(place, monkeypatch):
    monkeypatch.setenv("CHURN_SIGNING_KEY", LONG)
    assert place.ask(security.signing).outcome == "warn"


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Let a text be the configuration file."""

    def put(text, mode=0o600):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        monkeypatch.setenv("CHURN_MLOPS_CONFIG", str(path))
        return path

    return put


def test_passwords_in_the_configuration_belong_into_the_environment(place, configured):
    assert place.ask(security.configuration).outcome == "pass"
    configured("notify:\n  urls: ['mailtos://ann:hunter2@example.com', 'json://127.0.0.1/hook']\n", 0o644)
    answer = place.ask(security.configuration)
    assert answer.outcome == "warn"
    assert "notify.urls.0" in answer.found
    assert "notify.urls.1" not in answer.found
    assert "everybody on this machine" in answer.found
    assert answer.fix.endswith("CHURN_NOTIFY__URLS")
    assert "hunter2" not in answer.found + answer.fix
    configured("notify: {urls: [slack://token/token/token]}\n")
    assert "everybody" not in place.ask(security.configuration).found
    configured("serving: {port: 8000, api_keys_file: /app/keys.yaml}\nnotify: {urls: []}\n")
    assert place.ask(security.configuration).outcome == "pass"


SECRETS = {
    "a Secret's data": ({"kind": "Secret", "data": {"tls.crt": "TUlJ"}}, ["data.tls.crt"]),
    "a Secret's text": ({"kind": "Secret", "stringData": {"a": "x"}}, ["stringData.a"]),
    "a variable": ({"env": [{"name": "CHURN_SIGNING_KEY", "value": "abc"}]}, ["env.0.CHURN_SIGNING_KEY"]),
    "a mapping": ({"environment": {"POSTGRES_PASSWORD": "dagster"}}, ["environment.POSTGRES_PASSWORD"]),
    "an assignment": ({"environment": ["PGPASSWORD=dagster"]}, ["environment.0"]),
    "a literal": ({"secretGenerator": [{"literals": ["token=abc"]}]}, ["secretGenerator.0.literals.0"]),
    "a URL": ({"storage": {"url": "postgresql://dagster:dagster@db/dagster"}}, ["storage.url"]),
    "a file of a ConfigMap": (
        {"data": {"c.yaml": "notify:\n  urls: ['slack://a/b/c']\n"}},
        ["data.c.yaml.notify.urls.0"],
    ),
    "a private key": ({"data": {"id": "-----BEGIN RSA PRIVATE KEY-----\nMII\n"}}, ["data.id"]),
}
INNOCENT = {
    "a reference": {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}}]},
    "a variable of compose": {"environment": {"POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?}"}},
    "a variable in a URL": {"url": "postgresql://dagster:$(PASSWORD)@db/dagster"},
    "a placeholder": {"kind": "Secret", "stringData": {"signing-key": "<fill in>", "b": "CHANGE_ME", "c": ""}},
    "a file's path": {"api_keys_file": "/app/keys.yaml", "password": "/run/secrets/password"},
    "a user without a password": {"url": "ssh://git@example.com:22/x"},
    "a mount": {"volumes": [{"secret": {"secretName": "churn-secrets"}}], "automountServiceAccountToken": False},
    "prose": {"summary": "The token has expired: make a new key", "runbook": "see https://example.com/a@b"},
    "nothing": None,
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_where_it_is(name):
    content, places = SECRETS[name]
    assert plain_secrets(yaml.safe_load(yaml.safe_dump(content))) == places


@pytest.mark.parametrize("name", INNOCENT)
def test_what_is_no_secret_is_left_alone(name):
    assert plain_secrets(INNOCENT[name]) == []


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(PLAIN, st.lists(st.sampled_from(["a", "b.c", "0", "spec"]), max_size=4))
def test_a_secret_is_found_however_deep_and_beside_whatever(beside, path):
    content = {"password": "correct horse"}
    for key in reversed(path):
        content = {"beside": beside, key: content}
    assert ".".join([*path, "password"]) in plain_secrets(content)


def test_secrets_in_the_files_of_the_deployment_fail_and_are_not_repeated(checked_out):
    name = "deployment/k8s/base/configmap.yaml"
    checked_out.source.edit(name, "notify: {urls: []}", "notify: {urls: ['slack://hunter2/b/c']}")
    answer = checked_out.ask(security.files)
    assert answer.outcome == "fail"
    assert f"{name}: data.config.yaml.notify.urls.0" in answer.found
    assert "hunter2" not in answer.found
