"""The demonstration: shifts the newest days of generated data, and gives the very same bytes back."""

import dataclasses
from datetime import date, timedelta

import pytest
from builders import USERS, Export, files_of, quiet
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from churn_assets.demo import DAYS, STRENGTH, read_demo, shifted_snapshots, start_demo, stop_demo
from churn_assets.features.build import build_snapshot, build_user_daily
from churn_assets.ingest import build
from churn_assets.ingest.generated import GeneratedSource
from churn_assets.ingest.source import SourceError
from churn_assets.ingest.synthetic import events_of, users_as_of
from churn_assets.layout import days_between
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

START = date(2025, 1, 1)
HISTORY = 40
YESTERDAY = START + timedelta(days=HISTORY - 1)
STATE = "demo_drift.json"


def workspace_at(folder, *, today=YESTERDAY + timedelta(days=1), **synthetic):
    """A deployment as a new process would see it."""
    return Workspace(
        Settings.model_validate(
            {
                "paths": {"data": folder / "data", "artifacts": folder / "artifacts"},
                "clock": {"today": today},
                "source": {"start_date": START, "synthetic": {"users": 60, **synthetic}},
            }
        )
    )


def ingest(workspace, days=None):
    """Read raw data as a daily run does; returns the days that came late."""
    build.ingest_users(workspace)
    wanted = days or days_between(workspace.history_start, workspace.settings.yesterday)
    return build.ingest_events(workspace, wanted, quiet).late


def raw_files(workspace):
    """Bytes of everything under raw, by name."""
    return {name: content for name, (content, _) in files_of(workspace.layout.data / "raw").items()}


def days_that_differ(before, after):
    return sorted(name[7:17] for name in before if name.startswith("events/") and before[name] != after.get(name))


@pytest.fixture
def workspace(tmp_path):
    """Forty days of a small platform."""
    found = workspace_at(tmp_path)
    ingest(found)
    return found


class TestOnAndOff:
    """What the days look like."""

    def test_only_the_days_from_the_first_on_are_shifted(self, workspace):
        before = raw_files(workspace)
        demo = start_demo(workspace, 1.0, 10)
        assert demo.first_day == YESTERDAY - timedelta(days=9)
        assert ingest(workspace, [YESTERDAY]) == days_between(demo.first_day, YESTERDAY - timedelta(days=1))
        assert days_that_differ(before, raw_files(workspace)) == [
            day.isoformat() for day in days_between(demo.first_day, YESTERDAY)
        ]

    def test_off_gives_back_the_same_bytes_and_leaves_nothing(self, workspace):
        before = raw_files(workspace)
        start_demo(workspace, 0.8, 15)
        ingest(workspace, [YESTERDAY])
        assert raw_files(workspace) != before
        assert stop_demo(workspace).first_day == YESTERDAY - timedelta(days=14)
        ingest(workspace, [YESTERDAY])
        assert raw_files(workspace) == before
        assert stop_demo(workspace) is None

    def test_it_shifts_as_the_settings_would(self, workspace, tmp_path):
        demo = start_demo(workspace, 0.8, 15)
        ingest(workspace)
        other = workspace_at(tmp_path / "other", drift=0.8, drift_from=demo.first_day)
        ingest(other)
        assert other.layout.raw_users.read().equals(workspace.layout.raw_users.read())
        assert all(other.layout.raw_events.read(day).equals(workspace.layout.raw_events.read(day))
                   for day in other.layout.raw_events.days())  # fmt: skip

    def test_days_that_come_later_are_shifted_too(self, workspace, tmp_path):
        demo = start_demo(workspace, 1.0, 10)
        ingest(workspace, [YESTERDAY])
        tomorrow = YESTERDAY + timedelta(days=1)
        later = workspace_at(tmp_path, today=tomorrow + timedelta(days=1))
        assert ingest(later, [tomorrow]) == []
        world = dataclasses.replace(later.source.world, drift=1.0, drift_from=demo.first_day)
        assert later.layout.raw_events.read(tomorrow).equals(events_of(world, tomorrow))

    def test_it_may_be_on_before_anything_is_there(self, tmp_path):
        fresh, usual = workspace_at(tmp_path / "fresh"), workspace_at(tmp_path / "usual")
        start_demo(fresh, 1.0, 5)
        ingest(usual)
        assert ingest(fresh) == []
        assert len(days_that_differ(raw_files(usual), raw_files(fresh))) == 5

    def test_the_usual_demonstration_covers_its_days(self, tmp_path):
        workspace = workspace_at(tmp_path, today=START + timedelta(days=200))
        demo = start_demo(workspace)
        assert demo.strength == STRENGTH
        assert len(days_between(demo.first_day, workspace.settings.yesterday)) == DAYS

    def test_it_covers_no_more_days_than_there_are(self, workspace):
        assert start_demo(workspace, 0.5, 1000).first_day == START


class TestOnceAndSafely:
    """Days are read anew once, whatever happens meanwhile."""

    def test_days_are_late_once(self, workspace):
        start_demo(workspace, 0.5, 10)
        assert len(ingest(workspace, [YESTERDAY])) == 9
        assert ingest(workspace, [YESTERDAY]) == []
        stop_demo(workspace)
        assert len(ingest(workspace, [YESTERDAY])) == 9
        assert ingest(workspace, [YESTERDAY]) == []

    def test_starting_again_changes_no_byte(self, workspace):
        first = start_demo(workspace, 0.5, 10)
        assert start_demo(workspace, 0.5, 10) == first
        ingest(workspace, [YESTERDAY])
        before = raw_files(workspace)
        start_demo(workspace, 0.5, 10)
        assert ingest(workspace, [YESTERDAY]) == []
        assert raw_files(workspace) == before

    def test_another_strength_reads_the_days_again(self, workspace):
        start_demo(workspace, 0.5, 10)
        ingest(workspace)
        before = raw_files(workspace)
        start_demo(workspace, 0.9, 10)
        assert len(ingest(workspace, [YESTERDAY])) == 9
        assert len(days_that_differ(before, raw_files(workspace))) == 10

    def test_an_earlier_first_day_stays(self, workspace):
        first = start_demo(workspace, 0.5, 20).first_day
        assert start_demo(workspace, 0.9, 5).first_day == first
        assert start_demo(workspace, 0.9, 25).first_day == first - timedelta(days=5)

    @pytest.mark.parametrize("days_read", [0, 1, 7])
    def test_a_rebuild_that_was_cut_short_is_taken_back_whole(self, workspace, days_read):
        before = raw_files(workspace)
        demo = start_demo(workspace, 1.0, 10)
        source = workspace.source
        source.late_days(workspace.layout.raw_events.days())
        for day, table in source.events(days_between(demo.first_day, YESTERDAY)[:days_read]):
            workspace.layout.raw_events.write(day, table)
        stop_demo(workspace)
        ingest(workspace, [YESTERDAY])
        assert raw_files(workspace) == before

    @pytest.mark.parametrize("change", [stop_demo, lambda workspace: start_demo(workspace, 0.3, 30)])
    def test_a_change_while_days_are_read_is_not_taken_as_done(self, workspace, change):
        start_demo(workspace, 1.0, 10)
        source = workspace.source
        source.late_days([])
        change(workspace)
        source.acknowledge()
        found = read_demo(workspace.layout)
        assert found is not None
        assert not found.read
        late = ingest(workspace, [YESTERDAY])
        assert late == days_between(found.first_day, YESTERDAY - timedelta(days=1))

    def test_the_history_stays_that_of_the_same_platform(self, workspace, tmp_path):
        start_demo(workspace, 0.5, 10)
        workspace_at(tmp_path).pin_history()
        workspace_at(tmp_path, scenario="season", drift=0.4, drift_until=YESTERDAY).pin_history()

    def test_snapshots_that_were_built_with_other_events_are_known(self, workspace):
        demo = start_demo(workspace, 0.5, 10)
        assert shifted_snapshots(workspace, demo) is None
        days = days_between(START, YESTERDAY)
        build.validate_users(workspace)
        build.validate_events(workspace, days, quiet)
        build_user_daily(workspace, days, quiet)
        for day in (YESTERDAY - timedelta(days=15), YESTERDAY - timedelta(days=3), YESTERDAY):
            build_snapshot(workspace, day)
        assert shifted_snapshots(workspace, demo) == (YESTERDAY - timedelta(days=3), YESTERDAY)


class TestWithTheSettingsOwnDrift:
    """The stronger wins, from the demonstration's first day on."""

    FROM = START + timedelta(days=10)
    LATE = START + timedelta(days=30)

    @given(own=st.floats(0.05, 1.0), shown=st.floats(0.05, 1.0), scenario=st.sampled_from(["countries", "behaviour"]))
    @hypothesis_settings(max_examples=10, deadline=None)
    def test_the_stronger_wins(self, tmp_path_factory, own, shown, scenario):
        workspace = workspace_at(tmp_path_factory.mktemp("both"), drift=own, drift_from=self.FROM, scenario=scenario)
        demo = start_demo(workspace, shown, HISTORY - 30)
        source, world = workspace.source, workspace.source.world
        shifted = dataclasses.replace(world, scenario="behaviour", drift=shown, drift_from=demo.first_day)
        for day in (self.FROM + timedelta(days=5), self.LATE, YESTERDAY):
            expected = shifted if shown > own and day >= self.LATE else world
            assert dict(source.events([day]))[day].equals(events_of(expected, day))

    def test_who_signed_up_before_stays_who_they_are(self, tmp_path):
        workspace = workspace_at(tmp_path, drift=0.4, drift_from=self.FROM, scenario="countries", users=2000)
        start_demo(workspace, 0.9, HISTORY - 30)
        users, usual = workspace.source.users(YESTERDAY), users_as_of(workspace.source.world, YESTERDAY)
        earlier = users_as_of(workspace.source.world, self.LATE - timedelta(days=1)).num_rows
        assert users.slice(0, earlier).equals(usual.slice(0, earlier))
        assert "influencer" in users["marketing_source"].slice(earlier).to_pylist()
        assert users.num_rows == usual.num_rows


class TestRefusals:
    """What cannot be shown."""

    @pytest.mark.parametrize("command", [start_demo, stop_demo])
    def test_nobodys_own_data_are_shifted(self, tmp_path, command):
        export = Export(tmp_path)
        export.users(*USERS)
        with pytest.raises(SourceError, match=r"`source.kind` is files: only the generated platform"):
            command(export.workspace())
        assert not list(tmp_path.rglob(STATE))

    @pytest.mark.parametrize("strength", [0.0, -0.1, 1.01, float("nan")])
    def test_an_impossible_strength_is_refused(self, workspace, strength):
        with pytest.raises(ValueError, match=str(strength)):
            start_demo(workspace, strength)

    @pytest.mark.parametrize("days", [0, -3])
    def test_an_impossible_number_of_days_is_refused(self, workspace, days):
        with pytest.raises(ValueError, match=str(days)):
            start_demo(workspace, 0.5, days)

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", '{"strength": 7, "first_day": "2025-01-02"}', '{"strength": 0.5, "first_day": "soon"}'],
    )
    def test_a_damaged_file_is_named(self, workspace, content):
        (workspace.layout.data / "raw" / STATE).write_text(content)
        with pytest.raises(SourceError, match=f"{STATE} is damaged"):
            ingest(workspace)

    def test_a_source_without_a_place_shows_nothing(self):
        source = GeneratedSource(Settings().source.synthetic, START)
        assert source.late_days([START]) == []
        source.acknowledge()
