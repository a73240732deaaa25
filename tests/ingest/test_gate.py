"""Too many rejected rows stop a run: nothing is replaced, everything is kept."""

import pytest
from builders import DAYS, EVENTS, START, USERS, changed, files_of, quarantined, quiet, validate

from churn_assets.ingest import build
from churn_assets.ingest.validation import Tally
from churn_assets.layout import MissingTableError

BAD = tuple(f"a,2024-01-0{n + 2} 12:00:00,dance,,," for n in range(4))


def test_too_many_bad_events_replace_nothing(platform):
    good = validate(platform)
    validated = good.workspace.layout.events.folder
    before = files_of(validated)
    platform.events(*EVENTS, "b,2024-01-01 12:00:00,login,,,", *BAD)
    platform.configure(validation={"max_reject_share": 0.3})
    stopped = validate(platform)
    assert stopped.validated.days == []
    assert changed(before, files_of(validated)) == set()
    assert stopped.events.rows == 11
    assert stopped.rules == {"event_type_unknown": 4}
    assert stopped.events.share == pytest.approx(4 / 11)
    assert not build.within_limit(stopped.workspace, stopped.events)
    assert sorted(row["event_time"][:10] for row in stopped.rejected) == [row[2:12] for row in BAD]


def test_a_stopped_run_is_taken_up_when_the_limit_is_raised(platform):
    platform.events(*EVENTS, *BAD)
    platform.configure(validation={"max_reject_share": 0.1})
    assert validate(platform).validated.days == []
    platform.configure(validation={"max_reject_share": 0.5})
    done = validate(platform, [START])
    assert done.validated.days == [START]
    assert len(build.validate_events(done.workspace, DAYS, quiet)[0].days) == 8


def test_a_late_day_that_was_stopped_stays_late(platform):
    validate(platform)
    platform.events(*EVENTS, *BAD)
    platform.configure(validation={"max_reject_share": 0.1})
    assert validate(platform, [DAYS[-1]]).validated.days == []
    platform.configure(validation={"max_reject_share": 0.9})
    workspace = platform.workspace()
    built, _ = build.validate_events(workspace, [DAYS[-1]], quiet)
    assert built.late == DAYS[1:5]


def test_too_many_bad_users_replace_nothing(platform):
    validate(platform)
    users = platform.workspace().layout.users.path
    before = users.read_bytes(), users.stat().st_mtime_ns
    platform.users(*USERS, ",2023-12-01,free,false,DE,organic")
    platform.configure(validation={"max_reject_share": 0.2})
    tally = build_users(platform)["users"]
    assert tally.by_rule == {"user_id_missing": 1}
    assert (users.read_bytes(), users.stat().st_mtime_ns) == before
    assert len(quarantined(platform.workspace(), "users.csv")) == 1


def build_users(platform):
    workspace = platform.workspace()
    build.ingest_users(workspace)
    return build.validate_users(workspace)


def test_all_rows_rejected_is_never_within_the_limit(platform):
    validate(platform)
    platform.events(*BAD)
    stopped = validate(platform)
    assert stopped.validated.days == []
    assert stopped.events.share == 1.0


def test_no_rows_at_all_is_within_the_limit(platform):
    assert build.within_limit(platform.workspace(), Tally())


def test_bad_engagements_are_quarantined_and_stop_at_the_limit(platform):
    platform.file(
        "courses.csv",
        "who,from,to\na,2024-01-01,2024-06-01\nnobody,2024-01-01,\nb,2024-02-30,\nb,2024-05-01,2024-04-01\nb,2024-01-05,\n",
    )
    columns = {"user_id": "who", "started_on": "from", "ended_on": "to"}
    platform.source(files={"engagements": {"path": "courses.csv", "columns": columns}})
    tally = build_users(platform)["engagements"]
    assert tally.by_rule == {"user_unknown": 1, "started_on_invalid": 1, "ends_before_start": 1}
    assert platform.workspace().layout.engagements.read().num_rows == 2
    platform.configure(validation={"max_reject_share": 0.5})
    assert not build.within_limit(platform.workspace(), build_users(platform)["engagements"])


def test_validating_days_that_were_not_ingested_says_what_to_build(platform):
    workspace = platform.workspace()
    build.ingest_users(workspace)
    build.validate_users(workspace)
    with pytest.raises(MissingTableError, match=r"`raw_events` lacks 2024-01-01 … 2024-01-08 \(8 days\)"):
        build.validate_events(workspace, DAYS, quiet)


def test_nothing_aside_is_left_behind(platform):
    done = validate(platform)
    assert list(done.workspace.layout.temporary.iterdir()) == []
    assert list(platform.folder.rglob("*.part")) == []
