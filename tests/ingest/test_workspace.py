"""A folder holds one history: what it is made of cannot change under it."""

import datetime as dt

import pytest

from churn_assets.ingest.source import SourceError
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace


def deployment(folder, today="2026-01-31", **source):
    content = {"paths": {"data": folder / "data"}, "clock": {"today": today}, "source": source}
    return Workspace(Settings.model_validate(content))


def test_the_first_day_of_a_generated_history_stays_where_it_was(tmp_path):
    deployment(tmp_path, synthetic={"history_days": 30}).pin_history()
    later = deployment(tmp_path, today="2026-03-31", synthetic={"history_days": 30})
    assert later.history_start == dt.date(2026, 1, 1)


@pytest.mark.parametrize("changed", [{"users": 77}, {"seed": 8}])
def test_another_generated_platform_does_not_go_into_the_same_folder(tmp_path, changed):
    deployment(tmp_path).pin_history()
    with pytest.raises(SourceError, match="another generated platform"):
        deployment(tmp_path, synthetic=changed).pin_history()


def test_a_shift_in_behaviour_is_the_same_platform(tmp_path):
    deployment(tmp_path).pin_history()
    deployment(tmp_path, synthetic={"drift": 0.5}).pin_history()


def test_another_kind_of_source_does_not_go_into_the_same_folder(tmp_path):
    deployment(tmp_path).pin_history()
    files = {
        "users": {"path": "users.csv", "columns": {"user_id": "id", "signup_date": "since"}},
        "events": [{"path": "events.csv", "event_type": "login", "columns": {"user_id": "id", "event_time": "at"}}],
    }
    with pytest.raises(SourceError, match="history of a synthetic source"):
        deployment(tmp_path, kind="files", start_date="2026-01-01", files=files).pin_history()
