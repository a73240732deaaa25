"""A standing alert whose retrains are refused again and again: a person is told, once, by the sensor itself."""

import artifact_factory as make
import dagster as dg
import pytest

from churn_assets.automation.sensors import answer_alert
from churn_assets.training.assets import ALERT
from churn_serving.atomic import write_json

DAY = "2026-03-09"


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def told(receive, deployment):
    """A channel, and a deployment with a production model whose drift alert has stood for weeks."""
    receiver = receive()
    workspace = deployment(receiver.url())
    registry = make.open_registry(workspace.layout.artifacts)
    version = make.register(registry, 1)
    registry.promote(version, actor="test", reason="first")
    alert = {"id": f"{version}@drift@2026-02-09", "kind": "drift", "since": "2026-02-09"}
    write_json(workspace.layout.latest_drift, {"as_of_date": DAY, "model_version": version, "alert": alert})
    return receiver, workspace, alert["id"]


@dg.job(name="retrain_job")
def keeps_the_champion():
    """As the real one when no challenger passes: it ends well, and nothing changes."""

    @dg.op
    def refuses():
        pass

    refuses()


def refuse(instance, alert, number):
    keeps_the_champion.execute_in_process(instance=instance, tags={ALERT: f"{alert}#{number}"})


def tick(workspace, instance):
    return answer_alert(workspace, instance, "drift_alert_retrain", lambda layout: layout.latest_drift)


def test_three_refusals_tell_a_person_once(told, instance):
    receiver, workspace, alert = told
    for number in range(2):
        refuse(instance, alert, number)
    tick(workspace, instance)
    assert receiver.received == []
    refuse(instance, alert, 2)
    for _ in range(3):
        tick(workspace, instance)
    assert len(receiver.received) == 1
    assert alert in receiver.received[0]["message"]
    assert "3" in receiver.titles[0]
