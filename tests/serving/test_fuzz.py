"""What the OpenAPI document says is what the service does, whatever is thrown at it."""

import os
import re
import subprocess
import sys

import msgspec
import pytest
from http_world import GONE, PEOPLE

from churn_serving.key_file import add, generate

MINUTES = 5


@pytest.fixture
def whole(world):
    """A deployment in which every route has something to answer."""
    world.serve_new(1)
    world.publish(PEOPLE, left=[GONE])
    world.published.drift.parent.mkdir(parents=True, exist_ok=True)
    world.published.drift.write_bytes(msgspec.json.encode({"status": "OK", "psi_by_feature": {"plan": 0.1}}))
    world.published.reports.mkdir(parents=True, exist_ok=True)
    (world.published.reports / "drift_2026-01-05.html").write_text("<h1>Drift</h1>", encoding="utf-8")
    return world


def fuzz(server, folder, *options):
    """Run schemathesis with all its checks; returns how many cases it tried."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.http.base_url}/schema/openapi.json"]
    command += ["--checks", "all", "--seed", "1", "--request-timeout", "10", *options]
    environment = os.environ | {"DO_NOT_TRACK": "1", "NO_COLOR": "1"}
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=60 * MINUTES
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    return int(re.search(r"(\d+) generated, (\d+) passed", run.stdout).group(1))


def faults(server):
    return [line for line in server.accesses() if line["status"] >= 500]


def test_two_thousand_requests_find_nothing_that_the_document_does_not_say(whole, tmp_path):
    with whole.server() as server:
        assert fuzz(server, tmp_path, "--max-examples", "200") >= 2000
        assert server.fresh("GET", "/ready").status_code == 200
        assert faults(server) == []


def test_the_document_is_as_true_with_api_keys(whole, tmp_path):
    key, entry = generate("fuzz", ["admin"])
    add(tmp_path / "keys.yaml", entry)
    with whole.server(api_keys_file=tmp_path / "keys.yaml") as server:
        assert fuzz(server, tmp_path, "--max-examples", "15", "-H", f"Authorization: Bearer {key}") >= 200
        assert faults(server) == []
