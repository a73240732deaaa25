"""Whether a day's feed can be trusted, from the raw days themselves."""

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from churn_assets.ingest.synthetic import World, events_of
from churn_assets.layout import days_between
from churn_assets.monitoring.feed import feed_of
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 3, 1)
WORLD = World(epoch=FIRST - dt.timedelta(days=300), users=600)


def seconds(table):
    """Minutes, delivered in seconds."""
    return table.set_column(4, "watch_minutes", pc.multiply(table.column("watch_minutes"), 60.0))


def half(table):
    """Every other event."""
    return table.take(pa.array(range(0, table.num_rows, 2)))


@pytest.fixture
def workspace(tmp_path):
    """Two months of raw days."""
    paths = {"data": tmp_path / "data", "artifacts": tmp_path / "artifacts"}
    found = Workspace(Settings(paths=paths, clock={"today": LAST + dt.timedelta(days=1)}))
    for day in days_between(FIRST, LAST):
        found.layout.raw_events.write(day, events_of(WORLD, day))
    return found


def spoil(workspace, day, change):
    raw = workspace.layout.raw_events
    raw.write(day, change(raw.read(day)))


def status(workspace, day=LAST, *, reaching_back=True):
    return feed_of(workspace, day, reaching_back=reaching_back).status


def test_ordinary_days_are_sound(workspace):
    assert {status(workspace, day) for day in days_between(LAST - dt.timedelta(days=6), LAST)} == {"OK"}


@pytest.mark.parametrize("change", [seconds, half, lambda table: table.slice(0, 0)])
def test_a_broken_day_is_a_fault_that_says_what_and_what_to_do(workspace, change):
    spoil(workspace, LAST, change)
    found = feed_of(workspace, LAST, reaching_back=False)
    assert found.status == "FAULT"
    assert all(len(words) > 40 for words in found.findings)


def test_another_unit_spoils_features_for_as_long_as_they_reach_back(workspace):
    broken = LAST - dt.timedelta(days=10)
    spoil(workspace, broken, seconds)
    assert status(workspace, reaching_back=False) == "OK"
    found = feed_of(workspace, LAST, reaching_back=True)
    assert found.status == "FAULT"
    assert str(broken) in found.findings[0]
    assert str(broken + dt.timedelta(days=30)) in found.findings[0]


def test_missing_events_are_forgiven_once_the_feed_is_whole(workspace):
    spoil(workspace, LAST - dt.timedelta(days=3), half)
    assert status(workspace) == "OK"


def test_a_day_that_has_not_been_ingested_is_not_judged(workspace):
    assert status(workspace, LAST + dt.timedelta(days=5)) == "OK"
