"""Whatever a customer's files hold: a clear error or the quarantine, and no row lost."""

import pytest
from builders import EVENT_COLUMNS, EVENT_HEADER, EVENTS, START, USERS, Export, quarantined, rule_counts, run, validate

from churn_assets.ingest import build, contract, validation
from churn_assets.ingest.source import SourceError


def refused(export):
    with pytest.raises(SourceError) as caught:
        validate(export)
    return str(caught.value)


def assert_nothing_lost(done, rows):
    assert done.events.rows == rows
    assert len(done.clean_events) + len(done.rejected) == rows
    assert rule_counts(done.rejected) == done.rules


def test_missing_file_names_the_path_and_the_root(export):
    export.users(*USERS)
    message = refused(export)
    assert "events.csv: no such file" in message
    assert "`source.files.root`" in message
    assert str(export.folder) in message


def test_glob_without_a_match_is_a_missing_file(platform):
    platform.events_from({"path": "clicks_*.csv"})
    assert "clicks_*.csv: no such file" in refused(platform)


@pytest.mark.parametrize("name", ["users.csv", "events.csv"])
def test_empty_file_is_named(platform, name):
    platform.file(name, "")
    message = refused(platform)
    assert name in message
    assert "is empty" in message


def test_users_with_a_header_only(platform):
    platform.users()
    assert "holds no user" in refused(platform)


def test_events_with_a_header_only_are_days_without_events(platform):
    platform.events()
    done = run(platform)
    assert done.events.rows == 0
    assert len(done.validated.days) == 8
    assert done.workspace.layout.user_daily.read(START).num_rows == 0


def test_without_events_and_without_a_start_date_there_is_no_history(platform):
    platform.events()
    platform.source(start_date=None)
    assert "no event with a usable time" in refused(platform)


def test_wrong_delimiter_is_guessed_at(platform):
    platform.events(*(row.replace(",", ";") for row in EVENTS), header="user;when;what;minutes;score;price")
    message = refused(platform)
    assert "events.csv has no column" in message
    assert "is `delimiter:` right?" in message
    platform.events_from({"delimiter": ";"})
    assert validate(platform).events.rejects == 0


def test_missing_column_is_named_with_those_there_are(platform):
    platform.users("a,2023-12-01", header="id,joined")
    message = refused(platform)
    assert "users.csv has no column channel, country, paid, plan" in message
    assert "it has: id, joined" in message
    assert "`source.files.users`" in message


def test_missing_event_column_says_where_to_mend_it(platform):
    platform.events("a,login", header="user,what")
    message = refused(platform)
    assert "when" in message
    assert "`source.files.events`" in message


def test_extra_columns_are_fine(platform):
    platform.events(*(f"{row},x" for row in EVENTS), header="user,when,what,minutes,score,price,browser")
    done = validate(platform)
    assert done.events.rejects == 0
    assert set(done.clean_events[0]) == {"user_id", "event_time", "event_type", "watch_minutes", "quiz_score",
                                         "amount", "event_count"}  # fmt: skip


def test_lines_in_another_encoding_are_kept_aside_and_say_what_to_set(platform):
    platform.users(*USERS, "é,2023-12-01,free,false,FR,organic", encoding="latin-1")
    done = validate(platform)
    assert done.users.by_rule == {"unreadable_line": 1}
    assert "set `encoding:`" in done.users.samples[0]["source_note"]
    platform.users_from(encoding="latin-1")
    done = validate(platform)
    assert done.users.rejects == 0
    assert done.clean_users[-1]["user_id"] == "é"


def test_a_file_in_utf_16_is_refused_until_it_is_said(platform):
    platform.users(*USERS, encoding="utf-16")
    message = refused(platform)
    assert "users.csv" in message
    assert "`encoding:`" in message
    platform.users_from(encoding="utf-16")
    assert len(validate(platform).clean_users) == 3


def test_unknown_encoding_is_refused_with_those_allowed(platform):
    platform.users_from(encoding="klingon")
    message = refused(platform)
    assert "klingon" in message
    assert "latin-1" in message


def test_a_quote_that_is_never_closed_says_what_to_look_for(platform):
    platform.events(*EVENTS, 'a,"2024-01-03,login,,,', *EVENTS)
    message = refused(platform)
    assert "events.csv cannot be split into columns" in message
    assert "quote" in message


def test_a_quote_that_hides_lines_far_down_is_refused_with_its_line(platform):
    rows = [f"a,2024-01-03,video_watch,{n / 1024:.9f},," for n in range(25_000)]
    platform.events(*rows[:22_000], 'a,"2024-01-03,login,,,', *rows[22_000:])
    message = refused(platform)
    assert "events.csv, line 22002: a quote is never closed" in message


@pytest.mark.parametrize("line", ["a,2024-01-03,login,,,,x,y,z", "a,2024-01-03"])
def test_a_ragged_line_is_one_unreadable_line(platform, line):
    platform.events(*EVENTS, line)
    done = validate(platform)
    assert done.rules == {"unreadable_line": 1}
    assert line in done.rejected[0]["source_note"]
    assert_nothing_lost(done, 7)


def test_a_ragged_user_line_is_one_unreadable_line(platform):
    platform.users(*USERS, "d,2023-12-01,free,false,DE,organic,more,and,more")
    done = validate(platform)
    assert done.users.by_rule == {"unreadable_line": 1}
    assert done.users.rows == 4


def test_a_file_of_unreadable_lines_only(platform):
    platform.events_from({"path": "events*.csv"})
    platform.events("a,b", "c,d", name="events_broken.csv")
    done = validate(platform)
    assert done.rules == {"unreadable_line": 2}
    assert_nothing_lost(done, 8)


BAD_USERS = [
    ("user_id_duplicate", "a,2023-12-02,pro,true,DE"),
    ("user_id_missing", ",2023-12-01,free,false,DE"),
    ("user_id_missing", "   ,2023-12-01,free,false,DE"),
    ("signup_date_invalid", "v,2023-02-30,free,false,DE"),
    ("signup_date_invalid", "w,,free,false,DE"),
    ("signup_in_future", "x,2031-01-01,free,false,DE"),
    ("is_paid_invalid", "y,2023-12-01,free,perhaps,DE"),
]
BAD_EVENTS = [
    ("user_id_missing", ",2024-01-03 10:00:00,login,,,"),
    ("user_id_missing", "  ,2024-01-03 10:00:00,login,,,"),
    ("event_time_invalid", "a,,login,,,"),
    ("event_time_invalid", "a,2024-02-30 10:00:00,login,,,"),
    ("event_time_invalid", "a,yesterday,login,,,"),
    ("event_time_invalid", "a,2024-13-01,login,,,"),
    ("event_type_unknown", "a,2024-01-03 10:00:00,dance,,,"),
    ("event_type_unknown", "a,2024-01-03 10:00:00,,,,"),
    ("user_unknown", "nobody,2024-01-03 10:00:00,login,,,"),
    ("out_of_history", "a,2031-01-01 10:00:00,login,,,"),
    ("out_of_history", "a,2020-01-01 10:00:00,login,,,"),
    ("before_signup", "d,2024-01-03 10:00:00,login,,,"),
    ("watch_minutes_invalid", "a,2024-01-03 10:00:00,video_watch,-1,,"),
    ("watch_minutes_invalid", "a,2024-01-03 10:00:00,video_watch,1440.5,,"),
    ("watch_minutes_invalid", "a,2024-01-03 10:00:00,video_watch,long,,"),
    ("watch_minutes_invalid", "a,2024-01-03 10:00:00,video_watch,nan,,"),
    ("quiz_score_invalid", "a,2024-01-03 10:00:00,quiz_attempt,,101,"),
    ("quiz_score_invalid", "a,2024-01-03 10:00:00,quiz_attempt,,-0.1,"),
    ("quiz_score_invalid", "a,2024-01-03 10:00:00,quiz_attempt,,A+,"),
    ("amount_invalid", "a,2024-01-03 10:00:00,payment_success,,,"),
    ("amount_invalid", "a,2024-01-03 10:00:00,payment_failed,,,0"),
    ("amount_invalid", "a,2024-01-03 10:00:00,payment_success,,,-5"),
    ("amount_invalid", "a,2024-01-03 10:00:00,payment_success,,,inf"),
]
NAMED = {"columns": EVENT_COLUMNS | {"event_id": "event"}}
NAMED_HEADER = f"{EVENT_HEADER},event"


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A run over good rows and one of every kind of bad ones; `channel` and `event` say which is which."""
    export = Export(tmp_path_factory.mktemp("spoilt")).events_from(NAMED)
    export.users(*USERS, "d,2024-01-06,free,false,DE,email", *(f"{row},{n}" for n, (_, row) in enumerate(BAD_USERS)))
    bad = [f"{row},{n}" for n, (_, row) in enumerate(BAD_EVENTS)]
    good = [f"{row},good {n}" for n, row in enumerate(EVENTS)]
    export.events(*good, *bad, "a,2024-01-02 08:00:00,login,,,,good 1", "a,b,c,d,e,f,g,h,i", header=NAMED_HEADER)
    return validate(export)


@pytest.mark.parametrize("number", range(len(BAD_USERS)), ids=[row for _, row in BAD_USERS])
def test_a_bad_user_is_quarantined_under_its_rule(spoilt, number):
    rows = quarantined(spoilt.workspace, "users.csv")
    assert [row["rule"] for row in rows if row["marketing_source"] == str(number)] == [BAD_USERS[number][0]]


@pytest.mark.parametrize("number", range(len(BAD_EVENTS)), ids=[row for _, row in BAD_EVENTS])
def test_a_bad_event_is_quarantined_under_its_rule(spoilt, number):
    assert [row["rule"] for row in spoilt.rejected if row["event_id"] == str(number)] == [BAD_EVENTS[number][0]]


def test_with_everything_wrong_at_once_nothing_is_lost(spoilt):
    assert_nothing_lost(spoilt, len(EVENTS) + len(BAD_EVENTS) + 2)
    assert len(spoilt.clean_events) == len(EVENTS)
    assert spoilt.rules["duplicate"] == 1
    assert spoilt.rules["unreadable_line"] == 1
    assert [user["user_id"] for user in spoilt.clean_users] == ["a", "b", "c", "d"]
    assert spoilt.users.rows == 4 + len(BAD_USERS)
    assert spoilt.users.rejects == len(BAD_USERS)


def test_a_rejected_row_is_kept_as_it_came(spoilt):
    rows = {row["event_id"]: row for row in spoilt.rejected}
    assert rows["3"]["source_note"] == "2024-02-30 10:00:00"
    assert (rows["14"]["user_id"], rows["14"]["watch_minutes"]) == ("a", "long")


def test_the_tally_shows_a_few_rejected_rows(spoilt):
    assert len(spoilt.events.samples) == spoilt.workspace.settings.validation.sample_rows
    assert all(row["rule"] for row in spoilt.events.samples)
    shown = validation.rule_table(spoilt.rules, contract.event_rules(spoilt.workspace.settings, []))
    assert "| user_unknown | 1 | no valid user has this id |" in shown


def test_the_first_of_two_users_with_one_id_is_kept(spoilt):
    assert spoilt.clean_users[0]["plan"] == "free"
    assert spoilt.clean_users[0]["marketing_source"] == "organic"


def test_blank_attributes_are_not_known_rather_than_empty(platform):
    platform.users("a,2023-12-01,,,,  ", *USERS[1:])
    user = validate(platform).clean_users[0]
    assert (user["plan"], user["is_paid"], user["country"], user["marketing_source"]) == (None, None, None, None)


def test_values_at_the_limits_keep_the_contract(platform):
    platform.events(
        "a,2024-01-03 10:00:00,video_watch,1440,,",
        "a,2024-01-03 11:00:00,video_watch,0,,",
        "a,2024-01-03 12:00:00,quiz_attempt,,100,",
        "a,2024-01-03 13:00:00,quiz_attempt,,0,",
        "a,2024-01-03 14:00:00,payment_failed,,,0.01",
        " a ,2024-01-03 15:00:00,login, ,,",
    )
    done = validate(platform)
    assert done.rules == {}
    assert {row["user_id"] for row in done.clean_events} == {"a"}


def test_signup_tolerance_is_a_setting(platform):
    platform.events(*EVENTS, "c,2024-01-01 10:00:00,login,,,")
    assert validate(platform).rules == {}
    platform.configure(validation={"signup_tolerance_days": 0})
    assert validate(platform).rules == {"before_signup": 1}


def test_events_without_an_id_among_those_with_one_are_compared_as_whole_rows(platform):
    rows = [f"{row},e{number}" for number, row in enumerate(EVENTS)]
    nameless = ["a,2024-01-04 08:00:00,login,,,", "b,2024-01-04 08:00:00,login,,,", "a,2024-01-04 08:00:00,login,,,"]
    platform.events(*rows, *(f"{row}," for row in nameless), header=NAMED_HEADER)
    platform.events_from(NAMED)
    done = validate(platform)
    assert done.rules == {"duplicate": 1}
    assert_nothing_lost(done, 9)


def test_rows_that_differ_only_in_an_unmapped_column_are_two_events(platform):
    platform.events("a,2024-01-02 08:00:00,login,,,,s1", "a,2024-01-02 08:00:00,login,,,,s2", header=NAMED_HEADER)
    assert validate(platform).rules == {}


def test_one_user_and_one_event_are_enough(export):
    export.users(USERS[0])
    export.events(EVENTS[0])
    done = run(export)
    assert len(done.clean_users) == 1
    assert done.workspace.layout.user_daily.read(START).num_rows == 1


def test_another_source_in_the_same_folder_is_refused(platform):
    validate(platform)
    platform.source(kind="synthetic")
    with pytest.raises(SourceError, match=r"history of a files source.*`paths\.data`"):
        build.ingest_users(platform.workspace())
