"""Whom an alert reaches, and which alerts silence others."""

import pytest
import yaml
from towers import MONITORING, Alertmanager, program, ran, read_yaml, readable

CONFIG = MONITORING / "alertmanager" / "alertmanager.yml"
NOWHERE = {"tell": "http://127.0.0.1:9/", "page": "http://127.0.0.1:9/", "watchdog": "http://127.0.0.1:9/"}


@pytest.fixture
def config(tmp_path):
    """The configuration as the installed version reads it."""
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(readable(read_yaml(CONFIG), tmp_path, NOWHERE)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """An Alertmanager that nobody listens to."""
    with Alertmanager(tmp_path_factory.mktemp("alertmanager"), NOWHERE) as manager:
        yield manager


def test_alertmanager_takes_it(config):
    code, said = ran(program("amtool"), "check-config", str(config))
    assert code == 0, said
    assert "3 receivers" in said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=ChurnApiNotReady", "severity=critical"], "page"),
        (["alertname=ChurnDrift", "severity=warning"], "tell"),
        (["alertname=ChurnWatchdog", "severity=none"], "watchdog"),
        (["alertname=SomebodyElses"], "tell"),
    ],
)
def test_an_alert_reaches_who_is_to_know(config, labels, receiver):
    code, said = ran(program("amtool"), "config", "routes", "test", f"--config.file={config}", *labels)
    assert (code, said.split()[0]) == (0, receiver)


def test_addresses_are_read_from_files_and_stand_nowhere_else():
    hooks = [hook for receiver in read_yaml(CONFIG)["receivers"] for hook in receiver["webhook_configs"]]
    assert hooks
    assert all(hook.keys() <= {"url_file", "send_resolved"} for hook in hooks)
    assert "://" not in CONFIG.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("cause", "silenced", "told"),
    [
        ({"alertname": "ChurnApiNotScraped", "component": "api"}, ["ChurnApiReplicaDown", "ChurnApiNotReady"], []),
        (
            {"alertname": "ChurnApiNotReady", "component": "api"},
            ["ChurnApiErrors", "ChurnApiSlow"],
            ["ChurnApiReplicaDown", "ChurnModelRefused"],
        ),
        ({"alertname": "ChurnDaemonSilent"}, ["ChurnNoList"], ["ChurnFeaturesStale"]),
        ({"alertname": "ChurnFeaturesStale"}, ["ChurnNoList"], ["ChurnRunFailed"]),
        ({"alertname": "ChurnRunFailed", "dagster_job": "daily_job"}, ["ChurnNoList"], ["ChurnFeaturesStale"]),
        ({"alertname": "ChurnRunFailed", "dagster_job": "retrain_job"}, [], ["ChurnNoList"]),
        ({"alertname": "ChurnDrift"}, [], ["ChurnLivePrAucDown"]),
    ],
    ids=lambda value: value.get("dagster_job", value["alertname"]) if isinstance(value, dict) else "",
)
def test_a_cause_silences_what_follows_from_it_and_nothing_worse(manager, request, cause, silenced, told):
    here = {"namespace": request.node.name, "job": request.node.name}  # other cases' alerts are another deployment's
    component = {"component": cause.get("component", "model")}
    manager.post(here | cause)
    manager.post(*(here | component | {"alertname": name} for name in (*silenced, *told)))
    manager.settle()
    expected = {cause["alertname"]: False} | dict.fromkeys(silenced, True) | dict.fromkeys(told, False)
    assert manager.inhibited(request.node.name) == expected


def test_another_deployments_alerts_are_not_silenced(manager):
    api = {"job": "churn-api", "component": "api"}
    manager.post(api | {"alertname": "ChurnApiNotReady", "namespace": "one"})
    manager.post(api | {"alertname": "ChurnApiErrors", "namespace": "two"})
    manager.settle()
    assert manager.inhibited("two") == {"ChurnApiErrors": False}
