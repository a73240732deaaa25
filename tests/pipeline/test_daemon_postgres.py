"""The loop on PostgreSQL, as Compose configures it: two daemons by mistake, and a database that crashes under them."""

import re
import shutil
from dataclasses import dataclass

import pytest
import yaml
from daemons import answers, daemon, until
from deployed import ROOT, Deployment
from postgres_server import PASSWORD, Server

pytestmark = pytest.mark.slow

LOOKED = re.compile(r"^(?!INFO:).*Sensor drift_alert_retrain skipped", re.MULTILINE)
"""What a daemon logs of each look; later on, it logs everything a second time in another form."""


@dataclass(frozen=True)
class Lived:
    """What became of a deployment.

    Attributes:
        deployment: It, with nobody at work any more.
        survivors: How many of the two daemons were alive at the end.
        cursors: The cursors of its sensors, before and after the crash.
        decisions: What its registry had to decide, and for whom.
    """

    deployment: Deployment
    survivors: int
    cursors: tuple[dict, dict]
    decisions: list


@pytest.fixture(scope="module")
def lived(alerting, tmp_path_factory):
    """Two daemons see an alert at the same moment, and answer it; then their database crashes, and they go on."""
    with Server.running() as server:
        deployment = on_postgres(alerting.copied(tmp_path_factory.mktemp("postgres")), server.database("dagster"))
        decided, report = len(deployment.registry.history()), deployment.layout.latest_drift
        aside = report.rename(deployment.folder / "aside.json")
        logs = [deployment.folder / name for name in ("one.log", "other.log")]
        with daemon(deployment, "one.log") as one, daemon(deployment, "other.log") as other:
            look_on(logs)
            aside.rename(report)
            until(lambda: any(run.is_finished for run in answers(deployment)), "no retrain ends", logs[0])
            look_on(logs)
            before = cursors(deployment)
            server.stop("immediate")
            server.start()
            look_on(logs, times=2)  # the first may have begun before
            survivors = [one.poll(), other.poll()].count(None)
        yield Lived(deployment, survivors, (before, cursors(deployment)), deployment.registry.history()[decided:])


def on_postgres(deployment, database):
    """The same deployment, whose instance is another: Compose's, with nothing in it yet."""
    home = deployment.folder / "dagster"
    shutil.rmtree(home)
    home.mkdir()
    compose = yaml.safe_load((ROOT / "deployment" / "compose" / "dagster.yaml").read_text(encoding="utf-8"))
    (home / "dagster.yaml").write_text(yaml.safe_dump(database.configured(compose)))
    told = {**database.environment, "DAGSTER_PG_PASSWORD": PASSWORD, "PGTZ": "UTC"}  # as the entry point leaves them
    return Deployment(deployment.folder, deployment.settings | told)


def look_on(logs, times=1):
    """Wait until each daemon has looked for an alert, and found nothing to do, so many times more."""
    wanted = {log: looks(log) + times for log in logs}
    for log, count in wanted.items():
        until(lambda log=log, count=count: looks(log) >= count, "a daemon does not look", log)


def looks(log):
    return len(LOOKED.findall(log.read_text()))


def cursors(deployment):
    """What sensors remember, by their names."""
    with deployment.instance() as instance:
        states = {state.instigator_name: state.instigator_data for state in instance.all_instigator_state()}
    return {name: data.cursor for name, data in states.items() if getattr(data, "cursor", None)}


def test_two_daemons_answer_an_alert_with_one_retrain(lived):
    (run,) = answers(lived.deployment)
    assert run.is_success
    assert run.tags["churn/trigger"] == "drift_alert_retrain"
    decisions = [one for one in lived.decisions if one.action in {"promoted", "refused"}]
    assert {one.actor for one in decisions} == {f"run {run.run_id[:8]}"}


def test_daemons_go_on_after_a_crash_of_their_database(lived):
    assert lived.survivors == 2


def test_sensors_remember_where_they_were(lived):
    before, after = lived.cursors
    assert "run_failure_alert" in before
    assert after == before


def test_nothing_of_the_instance_is_in_files(lived):
    assert list(lived.deployment.folder.rglob("*.db")) == []
