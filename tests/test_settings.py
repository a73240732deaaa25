"""Settings: where they come from, and what is said of those that cannot be."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from churn_assets.settings import Settings, load_settings
from churn_serving.settings import ServiceSettings, SettingsError, read_settings

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def read(tmp_path):
    """Read settings from the text of a file (or none) and from variables."""

    def from_text(text=None, **variables):
        if text is not None:
            path = tmp_path / "config.yaml"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            variables["CHURN_MLOPS_CONFIG"] = str(path)
        return read_settings(Settings, variables)

    return from_text


@pytest.fixture
def refused(read):
    """What is said of settings that cannot be."""

    def message(text=None, **variables):
        with pytest.raises(SettingsError) as caught:
            read(text, **variables)
        return str(caught.value)

    return message


def test_the_packaged_defaults(read):
    settings = read()
    assert (settings.paths.data, settings.paths.artifacts) == (Path("data"), Path("artifacts"))
    assert settings.source.kind == "synthetic"
    assert settings.features.windows_days == (7, 14, 30)
    assert (settings.churn.window_days, settings.population.active_within_days) == (30, 30)
    assert settings.training.min_pr_auc == 0.60
    assert (settings.drift.warn_psi, settings.drift.alert_psi) == (0.10, 0.25)
    assert settings.schedules.model_dump() == {
        "timezone": "UTC",
        "drift": "0 1 * * *",
        "batch": "0 2 * * *",
        "retrain": "0 3 * * 0",
        "clean": "0 5 * * 0",
    }
    assert (settings.serving.host, settings.serving.port) == ("127.0.0.1", 8000)
    assert settings.notify.urls == []


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "---\n"])
def test_an_empty_file_is_the_defaults(read, text):
    assert read(text) == read()


def test_a_file_is_laid_over_the_defaults(read):
    settings = read("paths: {data: /srv/churn}\nfeatures:\n  windows_days: [3, 10]\n")
    assert settings.paths.data == Path("/srv/churn")
    assert settings.paths.artifacts == Path("artifacts")
    assert settings.features.windows_days == (3, 10)


def test_variables_are_laid_over_the_file(read):
    settings = read(
        "serving: {port: 9000, host: 0.0.0.0}\n",
        CHURN_SERVING__PORT="9100",
        CHURN_PATHS__DATA="/data",
        CHURN_CLOCK__TODAY="2024-05-01",
        CHURN_FEATURES__WINDOWS_DAYS="[5, 20]",
        CHURN_SOURCE__SYNTHETIC__USERS="50",
        CHURN_SCHEDULES__DRIFT="*/5 * * * *",
    )
    assert (settings.serving.port, settings.serving.host) == (9100, "0.0.0.0")  # noqa: S104
    assert settings.paths.data == Path("/data")
    assert settings.today == date(2024, 5, 1)
    assert settings.features.windows_days == (5, 20)
    assert settings.source.synthetic.users == 50
    assert settings.schedules.drift == "*/5 * * * *"


def test_other_variables_are_none_of_ours(read):
    assert read(CHURN_SIGNING_KEY="secret", HOME="/root", CHURNED__X="1") == read()


def test_the_environment_of_the_process_is_read(monkeypatch):
    monkeypatch.setenv("CHURN_SERVING__PORT", "8123")
    assert load_settings().serving.port == 8123


def test_today_is_the_clocks_or_the_real_day(read):
    assert read(CHURN_CLOCK__TODAY="2024-03-01").yesterday == date(2024, 2, 29)
    assert abs(read().today - datetime.now(UTC).date()) <= timedelta(days=1)


def test_unknown_key_in_a_file_with_the_nearest_name(refused):
    message = refused("serving: {prot: 8000}\n")
    assert "config.yaml" in message
    assert "serving.prot: unknown key; did you mean `port`?" in message


def test_unknown_section_with_the_nearest_name(refused):
    assert "trainig: unknown key; did you mean `training`?" in refused("trainig: {seed: 1}\n")


def test_unknown_key_in_a_variable_with_the_nearest_name(refused):
    message = refused(CHURN_DRIFT__WARN_PSY="0.2")
    assert "drift.warn_psy: unknown key; did you mean `warn_psi`?" in message


def test_unknown_key_without_a_near_one_lists_what_is_allowed(refused):
    allowed = "min_free_gb, repeat_days, stale_after_days, urls"
    assert f"notify.x: unknown key; allowed are {allowed}" in refused("notify: {x: 1}\n")


FILES = """
source:
  kind: files
  files:
    users: {path: u.csv, columns: {user_id: id, signup_date: joined}, delimeter: ";"}
    events: [{path: e.csv, columns: {user_id: id, event_time: at, event_type: what}, pathh: x}]
"""


def test_unknown_keys_deep_inside_are_known_by_their_place(refused):
    message = refused(FILES)
    assert "source.files.users.delimeter: unknown key; did you mean `delimiter`?" in message
    assert "source.files.events.0.pathh: unknown key; did you mean `path`?" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("serving: {port: eighty}", "serving.port: 'eighty' is refused"),
        ("serving: {port: 70000}", "serving.port: 70000 is refused: Input should be less than or equal to 65535"),
        ("features: {windows_days: [30, 7]}", "features.windows_days: [30, 7] is refused: windows must be given once"),
        ("features: {windows_days: []}", "features.windows_days"),
        ("churn: {window_days: 0}", "churn.window_days: 0 is refused"),
        ("schedules: {timezone: Mars/Olympus}", "schedules.timezone: 'Mars/Olympus' is refused: not a time zone"),
        ("schedules: {drift: at one}", "schedules.drift: 'at one' is refused: not a cron line of five fields"),
        ("drift: {warn_psi: 0.3}", "warn_psi must be below alert_psi"),
        ("source: {kind: excel}", "source.kind: 'excel' is refused: Input should be 'synthetic' or 'files'"),
        ("source: {kind: files}", "needs a `files:` section"),
        ("clock: {today: soon}", "clock.today: 'soon' is refused"),
        ("validation: {max_reject_share: 2}", "validation.max_reject_share: 2 is refused"),
        ("events: {types: {login: {counts: 7 logins}}}", "events.types.login.counts: '7 logins' is refused"),
        ("paths: data", "paths: 'data' is refused"),
    ],
)
def test_impossible_values_name_the_key_and_the_value(refused, text, expected):
    assert expected in refused(text)


def test_a_mapping_that_lacks_a_required_column_is_named(refused):
    message = refused(FILES.replace('delimeter: ";"', "").replace("signup_date: joined", "").replace(", pathh: x", ""))
    assert "users: `columns:` must map signup_date" in message


def test_two_ways_to_name_events_are_one_too_many(refused):
    both = FILES.replace('delimeter: ";"', "").replace("pathh: x", "event_type: login, event_types: {a: login}")
    assert "give `event_type` or `event_types`, not both" in refused(both)


def test_every_problem_is_listed_at_once(refused):
    message = refused("serving: {port: -1}\nchurn: {window: 30}\n", CHURN_DRIFT__ALERT_PSI="-1")
    assert len(message.splitlines()) == 4
    for key in ("serving.port", "churn.window", "drift.alert_psi"):
        assert key in message


def test_a_missing_file_is_named(refused, tmp_path):
    path = tmp_path / "nowhere.yaml"
    message = refused(CHURN_MLOPS_CONFIG=str(path))
    assert message == f"CHURN_MLOPS_CONFIG names {path}, which cannot be read: No such file or directory"


def test_a_folder_is_no_file(refused, tmp_path):
    assert "cannot be read: Is a directory" in refused(CHURN_MLOPS_CONFIG=str(tmp_path))


@pytest.mark.parametrize("text", ["a: [1", "\tx: 1", b"\xff\xfe\x00", "clock: {today: 2024-13-45}"])
def test_what_is_not_yaml_is_named(refused, text):
    assert "config.yaml is not YAML" in refused(text)


@pytest.mark.parametrize(("text", "kind"), [("- paths", "list"), ("just text", "str"), ("7", "int")])
def test_a_file_without_sections_says_what_it_is(refused, text, kind):
    assert f"must hold sections (`paths:`, `source:`, …), not a {kind}" in refused(text)


def test_an_impossible_date_in_a_variable(refused):
    assert "clock.today: '2024-13-45' is refused" in refused(CHURN_CLOCK__TODAY="2024-13-45")


def test_a_section_set_to_a_single_value(refused):
    message = refused("serving: 8000\n", CHURN_SERVING__PORT="9000")
    assert message == "CHURN_SERVING__PORT: `serving` is no section, so nothing can be set inside it"


def test_a_variable_inside_a_value(refused):
    assert "CHURN_SERVING__PORT__X: `port` is no section" in refused("serving: {port: 1}\n", CHURN_SERVING__PORT__X="1")


def test_a_section_left_blank_can_be_set_by_a_variable(read):
    assert read("serving:\n", CHURN_SERVING__PORT="9000").serving.port == 9000
    assert read("serving:\n") == read()


def test_an_unknown_section_left_blank_is_refused_too(refused):
    assert "trainig: unknown key" in refused("trainig:\n")


def test_the_service_reads_the_same_file_and_leaves_the_rest_alone(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("serving: {port: 9000}\ntraining: {seed: 1}\n")
    assert read_settings(ServiceSettings, {"CHURN_MLOPS_CONFIG": str(path)}).serving.port == 9000


def test_settings_cannot_be_changed_later(read):
    with pytest.raises(ValueError, match="frozen"):
        read().serving.port = 1


def test_the_vocabulary_is_the_default_one_with_additions_and_without_what_is_null(read):
    vocabulary = read("events: {types: {forum: {counts: forum_posts}, enroll: null}}").events.vocabulary
    assert vocabulary["forum"].counts == "forum_posts"
    assert "enroll" not in vocabulary
    assert not vocabulary["payment_failed"].activity


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/config.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_are_accepted(path):
    assert read_settings(Settings, {"CHURN_MLOPS_CONFIG": str(path)}).source.kind == "files"
