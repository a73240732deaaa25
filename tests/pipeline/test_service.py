"""The whole way: from generated data to answers over HTTP, as the documents have it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from churn_assets.readiness.api import LOAD_RECORD, LoadRecord

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/serving.md", "examples/http/README.md")
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HERE = re.compile(r"localhost:8000|127\.0\.0\.1:8000")


def documented():
    """Every documented shell block that asks the service something, by its place."""
    for name in DOCUMENTS:
        blocks = BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
        asking = [block for block in blocks if HERE.search(block) or "examples/http/" in block]
        yield from (pytest.param(block, id=f"{name}-{number}") for number, block in enumerate(asking))


@pytest.fixture(scope="module")
def platform(seeded, tmp_path_factory):
    """A copy of the seeded deployment, for the service to write its log into."""
    return seeded.copied(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def url(platform):
    """The real service on it; its address."""
    with platform.served() as address:
        yield address


def get(url):
    return httpx.get(url, timeout=10).raise_for_status().json()


def post(url, content):
    return httpx.post(url, json=content, timeout=30).raise_for_status().json()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("block", list(documented()))
def test_every_documented_request_runs_as_written(url, block):
    address = url.removeprefix("http://")
    script = 'curl() { command curl --fail-with-body -sS "$@"; }\n' + HERE.sub(address, block)
    script = script.replace(".venv/bin/python", sys.executable)
    script = re.sub(r"(examples/http/\w+\.py)", rf"\1 --url {url}", script)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.strip()


def test_documents_do_ask_something():
    assert len(list(documented())) >= 6


def test_the_service_gives_everybody_the_daily_list_s_score_bit_for_bit(platform, url):
    rows = platform.daily_list()
    answers = post(f"{url}/predict/batch", {"instances": [{"user_id": row["user_id"]} for row in rows]})["predictions"]
    assert [answer["churn_risk"] for answer in answers] == [float(row["churn_risk"]) for row in rows]
    assert {answer["model_version"] for answer in answers} == {rows[0]["model_version"]}
    one_by_one = [post(f"{url}/predict", {"user_id": row["user_id"]})["churn_risk"] for row in rows[:50]]
    assert one_by_one == [answer["churn_risk"] for answer in answers[:50]]


def test_features_sent_along_give_the_same_score(platform, url):
    for row in platform.daily_list()[:25]:
        details = get(f"{url}/users/{row['user_id']}")
        again = post(f"{url}/predict", {"user_id": row["user_id"], "features": details["features"]})
        assert again["churn_risk"] == float(row["churn_risk"])
        assert details["risk_rank"] == int(row["risk_rank"])
        assert details["history"][-1]["churn_risk"] == float(row["churn_risk"])
        texts = [reason["text"] for reason in details["prediction"]["reasons"]]
        assert texts == [row["reason_1"], row["reason_2"], row["reason_3"]]


def test_the_examples_of_the_openapi_document_run(url):
    document = get(f"{url}/schema/openapi.json")
    for path in ("/predict", "/predict/batch"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert content["examples"]
        for example in content["examples"].values():
            assert "error" not in json.dumps(post(url + path, example["value"]))


def test_a_stranger_is_not_found(url):
    assert httpx.get(f"{url}/users/nobody").status_code == 404


def test_the_service_tells_what_the_command_tells(platform, url):
    model = get(f"{url}/model")
    shown = json.loads(platform.run("models", "show", model["version"], "--json").expect().out)
    assert shown["version"] == model["version"]
    assert get(f"{url}/models")["production"] == model["version"]
    assert get(f"{url}/ready")["model_version"] == model["version"]
    assert get(f"{url}/drift")["model_version"] == model["version"]


def test_churn_serve_keeps_to_itself_unless_told_otherwise(seeded):
    refused = seeded.run("serve", "--host", "192.0.2.1").expect(1)
    assert "without API keys" in refused.err


def test_what_was_served_is_written_down_and_summed_up(deployment):
    first = deployment.daily_list()[0]
    with deployment.served() as url:
        post(f"{url}/predict", {"user_id": first["user_id"]})
    (log,) = (deployment.layout.predictions / "log").glob("*.jsonl")
    row = json.loads(log.read_text(encoding="utf-8"))
    assert (row["user_id"], row["score"]) == (first["user_id"], float(first["churn_risk"]))
    assert json.loads(deployment.layout.latest_score_proxy.read_text())["served"]["rows"] == 0  # of the day before


def test_a_load_that_is_recorded_is_what_the_doctor_finds(platform, url):
    record = platform.layout.artifacts / LOAD_RECORD
    record.parent.mkdir(exist_ok=True)
    user = platform.daily_list()[0]["user_id"]
    line = ["examples/http/load.py", user, "--url", url, "--rate", "50", "--seconds", "2", "--record", str(record)]
    subprocess.run([sys.executable, *line], cwd=ROOT, check=True, capture_output=True, timeout=60)
    found = msgspec.json.decode(record.read_bytes(), type=LoadRecord)
    assert found.failed == 0
    assert 10 < found.requests_per_second <= 50
