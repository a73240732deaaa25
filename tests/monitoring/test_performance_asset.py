"""The report as Dagster runs it: a day, a range of days, and what its check says."""

from datetime import date, timedelta
from types import SimpleNamespace

import dagster as dg
import pytest
from performance_world import START, WINDOW, World, shuffled

from churn_assets.monitoring.performance.assets import performance_report
from churn_assets.partitions import DAILY

NEWEST = date.fromisoformat(DAILY.get_last_partition_key())
LAST = (NEWEST - timedelta(days=WINDOW) - START).days
"""The newest as-of date with labels, counted from the world's first day."""


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, today=NEWEST + timedelta(days=1))
    made.promote()
    return made


def materialize(world, first=NEWEST):
    span = dg.PartitionKeyRange(first.isoformat(), NEWEST.isoformat())
    context = dg.build_asset_context(partition_key_range=span)
    return performance_report(context, churn=SimpleNamespace(get=lambda: world.workspace))


@pytest.mark.parametrize(
    ("change", "status", "severity"),
    [({}, "OK", dg.AssetCheckSeverity.WARN), ({"lead": shuffled}, "FAIL", dg.AssetCheckSeverity.ERROR)],
)
def test_the_check_says_whether_predictions_came_true(world, change, status, severity):
    world.live(LAST - 6, LAST, **change)
    result = materialize(world)
    check = result.check_results[0]
    assert check.check_name == "predictions_came_true"
    assert (check.passed, check.severity) == (status == "OK", severity)
    assert result.metadata["status"] == status
    assert result.metadata["rows"] == 2800
    assert 0 < result.metadata["pr_auc"] < 1


def test_a_range_is_reported_day_by_day_oldest_first(world):
    world.live(LAST - 8, LAST, lead=shuffled)
    first = NEWEST - timedelta(days=2)
    result = materialize(world, first)
    assert all(world.layout.performance_file(first + timedelta(days=n)).exists() for n in range(3))
    assert result.metadata["report"].path.endswith(f"performance_{NEWEST}.json")
    assert f"@{first}" in world.layout.latest_performance.read_text(), "the alert stands since the first day"


def test_nothing_to_go_by_is_no_failure(world):
    result = materialize(world)
    assert result.metadata["status"] == "UNKNOWN"
    assert result.check_results[0].passed
    assert "pr_auc" not in result.metadata
