"""`churn doctor`: the whole checklist, what it says, how it ends, and that it touches nothing."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from builders import files_of
from readiness_world import Place, Service, answers_of, beat, dagster_home, ingest, succeed
from typer.testing import CliRunner

from churn_assets.commands.readiness import app
from churn_assets.readiness.checklist import SECTIONS, examine, finding_of
from churn_assets.readiness.checkout import Checkout
from churn_assets.readiness.finding import Check, Finding, Section, passes
from churn_assets.readiness.page import is_ready, lines_of

RUNBOOK = {
    "Code Quality": ["`make lint` passes", "`make test` passes", "Code reviewed and approved"],
    "Data Pipeline": ["Validation gates in place", "Data quality monitored", "Backups configured"],
    "Model": [
        "Baseline model trained and promoted",
        "Metrics acceptable (PR-AUC > 0.60)",
        "Model versioning in place",
    ],
    "API": [
        "Health checks working (`/live`, `/ready`)",
        "Metrics exposed (`/metrics`)",
        "Load tested (100+ req/s)",
    ],
    "Deployment": [
        "Docker images built and tagged",
        "K8s manifests applied",
        "PVC provisioned",
        "Secrets managed (if any)",
    ],
    "Monitoring": ["Prometheus scraping API", "Grafana dashboard configured", "Alerts defined and tested"],
    "Automation": [
        "CronJobs deployed (drift, retrain)",
        "Automated retraining tested",
        "Rollback procedure documented",
    ],
}
"""The production readiness checklist, word for word and in its order."""

ON_REQUEST = {"`make lint` passes: linters and types", "K8s manifests applied: in the cluster"}
KEY = "k" * 64
SCHEDULED = {"drift_job": "drift_daily", "daily_job": "batch_daily", "retrain_job": "retrain_weekly"}


def test_every_line_of_the_runbook_is_checked_in_its_order():
    found = {}
    for section in SECTIONS:
        found[section.title] = list(dict.fromkeys(check.line for check in section.checks))
    assert list(found.items()) == list(RUNBOOK.items())


def test_no_two_checks_have_the_same_name():
    names = [check.name for section in SECTIONS for check in section.checks]
    assert len(names) == len(set(names))


def test_a_deployment_in_which_nothing_has_happened_is_told_what_to_do_about_everything(place):
    findings = examine(place.premises())
    assert len(findings) == sum(len(section.checks) for section in SECTIONS)
    assert not is_ready(findings, strict=False)
    assert all(finding.fix for finding in findings if finding.outcome != "pass")
    assert not any(finding.fix for finding in findings if finding.outcome == "pass")
    assert all(finding.found for finding in findings)
    assert not [finding for finding in findings if "Error" in finding.found]
    assert {finding.section for finding in findings} == set(RUNBOOK)


def test_a_check_that_raises_fails_with_the_first_line_and_the_others_go_on(place):
    def broken(_):
        raise RuntimeError("\n the disk is on fire \nand more")

    checks = (Check("A line", "one", broken), Check("A line", "two", lambda _: passes("fine")))
    section = Section("fire", "Fire", checks)
    first, second = (finding_of(section, check, place.premises()) for check in checks)
    assert (first.outcome, first.found) == ("fail", "RuntimeError: the disk is on fire")
    assert "--only fire" in first.fix
    assert second.outcome == "pass"


@pytest.mark.parametrize("error", [KeyError("as_of_date"), ValueError(), SystemExit(3)])
def test_whatever_a_check_raises_is_its_own_failure(place, error):
    def broken(_):
        raise error

    finding = finding_of(Section("x", "X", ()), Check("A line", "one", broken, 5.0), place.premises())
    assert finding.outcome == "fail"
    assert finding.found


def test_a_check_that_hangs_fails_after_its_time(place):
    release = threading.Event()
    check = Check("A line", "one", lambda _: passes(str(release.wait(60))), limit_seconds=0.05)
    finding = finding_of(Section("x", "X", ()), check, place.premises())
    release.set()
    assert (finding.outcome, finding.found) == ("fail", "no answer within 0.05 s")


def test_reports_that_are_no_json_fail_and_name_the_file(place):
    place.drift()
    place.layout.latest_drift.write_text("{")
    found = {finding.check: finding for finding in examine(place.premises(), ["data"])}
    broken = found["Data quality monitored: feed"]
    assert broken.outcome == "fail"
    assert "data_drift_latest.json is no JSON" in broken.found


def test_the_page_fits_eighty_columns_and_groups_by_section(place):
    findings = examine(place.premises())
    lines = list(lines_of(findings, 80))
    long = [line for line in lines if len(line) > 80 and len(line.split()) > 2]
    assert long == []
    assert [line for line in lines if line in RUNBOOK] == list(RUNBOOK)
    assert "\x1b" not in "".join(lines)
    assert lines[-1] == ", ".join(
        f"{sum(finding.outcome == outcome for finding in findings)} {mark}"
        for outcome, mark in (("pass", "pass"), ("warn", "warn"), ("fail", "FAIL"))
    )


def test_a_command_to_copy_is_not_cut_within_a_word():
    finding = Finding("API", "A line: one", "fail", "x" * 200, "churn models promote candidate_hgb_20260105T030012Z")
    page = "\n".join(lines_of([finding], 40))
    assert "candidate_hgb_20260105T030012Z" in page
    assert "x" * 200 in page


@pytest.fixture(scope="module")
def fit(grown, tmp_path_factory):
    """A deployment that is fit for production, its checkout and a double of its service; built once, only looked at."""
    folder, now = tmp_path_factory.mktemp("fit"), datetime.now(UTC)
    place = Place(folder / "place", clock={}, notify={"urls": ["json://127.0.0.1:9/hook"]})
    assert ingest(folder / "place", bad=1, good=30).layout.data == place.layout.data
    place.now = now - timedelta(hours=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHURN_SIGNING_KEY", KEY)
        place.register(3, kind="linear")
        for seed in (1, 2, 4):
            place.serve(seed)
        place.registry.rollback(actor="tests")
    yesterday = str(now.date() - timedelta(days=1))
    place.drift(as_of_date=yesterday)
    place.performance(as_of_date=yesterday)
    place.backup(now - timedelta(days=1))
    place.tested(now.date())
    with dagster_home(folder / "dagster") as instance:
        beat(instance, now)
        for job, schedule in SCHEDULED.items():
            succeed(instance, job, **{"dagster/schedule_name": schedule})
    place.source = grown.copied(folder / "source")
    service = Service(answers_of(place.registry.production().version))
    place.configure(serving={"servers": [service.url]})
    yield place
    service.close()


@pytest.fixture
def _ready(fit, monkeypatch):
    """Let this process find it by settings and environment."""
    monkeypatch.setattr(Checkout, "find", classmethod(lambda cls: cls(fit.source.root)))
    for name, value in {
        "DAGSTER_HOME": fit.folder.parent / "dagster",
        "CHURN_SIGNING_KEY": KEY,
        "CHURN_PATHS__DATA": fit.layout.data,
        "CHURN_PATHS__ARTIFACTS": fit.layout.artifacts,
        "CHURN_BACKUP__DESTINATION": "s3://vault/churn",
        "CHURN_NOTIFY__URLS": json.dumps(fit.content["notify"]["urls"]),
        "CHURN_NOTIFY__MIN_FREE_GB": 0,
        "CHURN_SERVING__SERVERS": json.dumps(fit.content["serving"]["servers"]),
        "CHURN_VALIDATION__MAX_REJECT_SHARE": 0.1,
    }.items():
        monkeypatch.setenv(name, str(value))


def doctor(*arguments):
    return CliRunner().invoke(app, [*arguments])


def outcomes(result):
    return {one["check"]: one["outcome"] for one in json.loads(result.stdout)["findings"]}


@pytest.mark.usefixtures("_ready")
def test_a_deployment_that_is_fit_for_production_exits_with_0():
    result = doctor("--json")
    content = json.loads(result.stdout)
    assert {one["check"]: one["found"] for one in content["findings"] if one["outcome"] != "pass"}.keys() == ON_REQUEST
    assert result.exit_code == 0
    assert content["ready"]
    assert (content["warn"], content["fail"]) == (2, 0)
    assert content["pass"] == len(content["findings"]) - 2
    assert list(dict.fromkeys(one["section"] for one in content["findings"])) == list(RUNBOOK)
    strict = doctor("--json", "--strict")
    assert strict.exit_code == 3
    assert not json.loads(strict.stdout)["ready"]
    assert doctor("--strict", "--only", "model", "--only", "data").exit_code == 0


@pytest.mark.usefixtures("_ready")
def test_one_failure_exits_with_3_and_says_what_mends_it(monkeypatch):
    monkeypatch.delenv("CHURN_BACKUP__DESTINATION")
    result = doctor()
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    at = lines.index("  FAIL  Backups configured: destination")
    assert lines[at + 2].startswith("        fix: set `backup.destination`")
    assert lines[-1].endswith("1 FAIL")
    assert doctor("--only", "model").exit_code == 0
    assert outcomes(doctor("--json", "--only", "DATA"))["Backups configured: destination"] == "fail"


@pytest.mark.usefixtures("_ready")
def test_a_section_that_does_not_exist_is_refused_with_those_that_do():
    result = doctor("--only", "modle")
    assert result.exit_code == 1
    assert "code, data, model, api, deployment, monitoring, automation" in result.stderr


@pytest.mark.usefixtures("_ready")
def test_the_doctor_touches_nothing(fit):
    doctor("--json")  # whose Python may have had modules to compile
    before = files_of(fit.folder.parent)
    assert before.keys() >= {"dagster/history/runs.db", "place/artifacts/registry/history.jsonl", "source/Makefile"}
    doctor("--json")
    assert files_of(fit.folder.parent) == before


def test_the_doctor_makes_nothing_where_nothing_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("CHURN_SERVING__PORT", "1")
    assert doctor("--json").exit_code == 3
    assert list(tmp_path.iterdir()) == []
