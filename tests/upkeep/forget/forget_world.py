"""A small deployment in which people with awkward ids have left traces everywhere, built by the project itself."""

import csv
import io
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from builders import Export, quiet

from churn_assets.features.build import build_labels, build_snapshot, build_user_daily, training_rows
from churn_assets.features.publish import publish_newest
from churn_assets.ingest import build as ingest
from churn_assets.layout import days_between
from churn_assets.model_registry import open_registry
from churn_assets.monitoring.feed_profile import profiles
from churn_assets.monitoring.performance.outcomes import bring_up_to_date
from churn_assets.scoring.predictions import predict, write_predictions
from churn_assets.scoring.publish import publish_scores
from churn_assets.upkeep.forget import Forgetting, Surroundings
from churn_serving.linear import LinearScorer
from churn_serving.logs.prediction_log import PredictionLog
from churn_serving.manifest import Bands, Environment, Manifest, Period, Population, golden_rows
from churn_serving.online.keyed_table import KeyedTable
from churn_serving.published import Published
from churn_serving.schema import FeatureSpec

START = date(2024, 1, 1)
SPAN = 20
TODAY = START + timedelta(days=SPAN)
DAYS = days_between(START, TODAY - timedelta(days=1))
SCORED = DAYS[9:]
BANDS = Bands(high=0.6, medium=0.3)
VERSION, OLD_VERSION = "baseline_logreg_20240120T030000Z", "baseline_logreg_20230120T030000Z"

ANNA = "anna-4711"
AWKWARD = ("12", "123", "1", "zoë ünï", 'o"neil, the 3rd', "it's", ANNA, "anna-471", "café|bar", "x;y")
OTHERS = tuple(f"p{number:02}" for number in range(20))
PEOPLE = (*AWKWARD, *OTHERS)


def after(days):
    return START + timedelta(days=days)


def csv_text(rows):
    """Rows as CSV, quoted where need be."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def user_rows(person):
    """The person's rows in the users file: the second is a repetition, which is rejected."""
    plan = ("free", "pro", "basic")[len(person) % 3]
    row = [person, "2023-12-01", plan, "true", "DE", "organic"]
    return [row, row] if person in AWKWARD else [row]


def event_rows(person):
    """What a person does; of people with awkward ids, some rows are broken in every way."""
    rng = np.random.default_rng(sum(person.encode()))
    active = [day for day in DAYS if rng.random() < 0.6]
    rows = [[f"{person}:{day}", person, f"{day} 09:30:00", "video_watch", "12.5", "", ""] for day in active]
    if person in AWKWARD:
        shifted = f"see {person}" if person.isdecimal() else person
        rows += [
            [f"{person}:a", person, "2024-01-05 10:00:00", "juggling", "", "", ""],
            [f"{person}:b", person, "one fine day", "login", "", "", ""],
            [f"{person}:c", "", "2024-01-06 10:00:00", person, "", "", ""],
            [f"{person}:d", "", "2024-01-06 11:00:00", "login", shifted, "", ""],
        ]
    return rows


def unreadable_line(person):
    """A line with too many columns."""
    return csv_text([["late", person, "2024-01-07 10:00:00", "login", "", "", "", "", "extra"]])


@dataclass
class World:
    """A deployment in `folder`, of whom `people` are in its export."""

    folder: Path
    people: tuple = PEOPLE

    @property
    def export(self):
        columns = {"user_id": "user", "event_time": "when", "event_type": "what", "watch_minutes": "minutes"}
        columns |= {"event_id": "id", "quiz_score": "score", "amount": "price"}
        courses = {"user_id": "who", "started_on": "from", "ended_on": "to"}
        files = {
            "events": [{"path": "events.csv", "columns": columns}],
            "engagements": {"path": "courses.csv", "columns": courses},
        }
        return Export(self.folder).configure(
            clock={"today": TODAY},
            source={"start_date": START, "files": files},
            features={"windows_days": [7]},
            churn={"window_days": 7},
            population={"active_within_days": 7},
            serving={"reload_seconds": 0.05},
        )

    @property
    def workspace(self):
        """As a new process would see it."""
        return self.export.workspace()

    @property
    def layout(self):
        return self.workspace.layout

    def write_source(self, people=None):
        """What the customer exports."""
        people, export = self.people if people is None else people, self.export
        header = ["id", "joined", "plan", "paid", "country", "channel"]
        export.file("users.csv", csv_text([header, *(row for one in people for row in user_rows(one))]))
        export.file("courses.csv", csv_text([["who", "from", "to"], *([one, "2023-12-01", ""] for one in people)]))
        events = [["id", "user", "when", "what", "minutes", "score", "price"]]
        text = csv_text([*events, *(row for one in people for row in event_rows(one))])
        export.file("events.csv", text + "".join(unreadable_line(one) for one in people if one in AWKWARD))

    def ingest(self, days=DAYS):
        """From the source to `churn_labels`; returns what was built of each table."""
        workspace = self.workspace
        told = []
        ingest.ingest_users(workspace, told.append)
        raw = ingest.ingest_events(workspace, days, told.append)
        ingest.validate_users(workspace)
        return told, raw, *self.derive(days)

    def derive(self, days=DAYS):
        """From raw events to `churn_labels`."""
        workspace = self.workspace
        events, _ = ingest.validate_events(workspace, days, quiet)
        return events, build_user_daily(workspace, days, quiet), build_labels(workspace, days)

    def build(self):
        """Everything."""
        self.write_source()
        self.ingest()
        self.score()
        self.judge()
        return self

    def score(self):
        """Snapshots, a training set, models, lists, and what the service finds users in."""
        workspace, scorer = self.workspace, scorer_of()
        for day in SCORED:
            build_snapshot(workspace, day)
        workspace.layout.training_set.write(training_rows(workspace, [after(8), after(12)]))
        publish_newest(workspace.layout)
        self.register(OLD_VERSION, scorer_of(2.0), date(2023, 1, 1))
        self.register(VERSION, scorer, after(8))
        open_registry(workspace).promote(VERSION, actor="test", reason="because")
        for day in SCORED:
            table = predict(workspace.layout.user_features.read(day), scorer, BANDS, VERSION)
            write_predictions(workspace.layout, day, table, 5)
            publish_scores(workspace.layout, day, table, VERSION)

    def judge(self):
        """What the service has answered, and what came of it."""
        asked = [(person, day) for day in SCORED[:4] for person in self.people]
        self.serve([(person, datetime.combine(day, time(12), UTC), day) for person, day in asked])
        bring_up_to_date(self.workspace, SCORED[0], SCORED[-1])
        profiles(self.workspace, DAYS)

    def register(self, version, scorer, day):
        """Put a model with a training set of one day into the registry."""
        rows = [{scorer.features[0].name: value} for value in np.linspace(0, 7, 24)]
        draft = Manifest(
            version=version,
            model_type="logistic_regression",
            role="baseline",
            created_at=datetime(2024, 1, 20, tzinfo=UTC),
            features=scorer.features,
            golden=golden_rows(rows, [scorer.score_row(scorer.encode_row(row)) for row in rows]),
            threshold=0.5,
            bands=BANDS,
            population=Population(active_within_days=7, window_days=7),
            training={"training": Period(first=day, last=day, rows=1000)},
            data_fingerprint="ab" * 32,
            code_version="0.1.4",
            environment=Environment(python="3.11.7", packages={}),
            seed=7,
        )
        open_registry(self.workspace).register(draft, version.encode(), scorer, metrics={})

    def serve(self, rows, host="pod-1"):
        """Log answers of `(user id, time, as-of date)`."""
        now = [0.0]
        log = PredictionLog(self.log_folder, interval=3600, clock=lambda: now[0], host=host)
        for number, (person, moment, day) in enumerate(rows):
            now[0] = moment.timestamp()
            log.record(f"r{number}", person, VERSION, 0.25, np.zeros(1).tobytes(), day, by_id=True)
        assert log.close()

    @property
    def log_folder(self):
        return Published(self.workspace.settings.paths).prediction_log

    def copied(self, folder):
        """The same at another place, every file with its time."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        arrivals = folder / "data" / "raw" / "arrivals.json"
        arrivals.write_text(arrivals.read_text().replace(str(self.folder), str(folder)))
        return World(folder, self.people)

    def forgetting(self, person, **surroundings):
        """What forgets a person, without waiting for a service that is not there."""
        return Forgetting(self.workspace, person, Surroundings(**{"pause": lambda _: None} | surroundings))

    def forget(self, person, *, anyway=False, **surroundings):
        """Forget a person."""
        return self.forgetting(person, **surroundings).run(asked_by="the tests", anyway=anyway)


def scorer_of(weight=0.5):
    return LinearScorer(
        (FeatureSpec(name="days_since_last_activity", kind="number", meaning="How long ago."),),
        weight=np.array([weight]),
        offset=np.zeros(1),
        missing=np.zeros(1),
        center=np.zeros(1),
        logarithmic=np.zeros(1, dtype=bool),
        level_start=np.array([-1]),
        levels=np.zeros(0),
        intercept=np.array([-1.5]),
    )


def mentions(folder, person):
    """Files below a folder that have an id in their bytes, or in what their bytes stand for."""
    needles = {person.encode(), person.replace('"', '""').encode(), person.replace('"', '\\"').encode()}
    found = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if any(needle in content for needle in needles) or _decoded(path, person):
                found.add(path.relative_to(folder).as_posix())
    return found


def _decoded(path, person):
    if path.suffix == ".parquet":
        columns = pq.ParquetFile(path).read().to_pydict().values()
        texts = {str(value) for column in columns for value in column if value is not None}
        return any(person in text for text in texts)
    return path.suffix == ".keyed" and KeyedTable.open(path).find(person) >= 0


def rows_of_others(world, person):
    """Every row of every table, list and log that is about somebody else, as it stands there."""
    layout, found = world.layout, {}
    for path in sorted(layout.data.rglob("*.parquet")):
        rows = pq.ParquetFile(path).read().to_pylist()
        found[path.relative_to(layout.data)] = [row for row in rows if (row["user_id"] or "").strip() != person]
    for path in sorted([*layout.predictions.glob("*.csv"), *layout.quarantine.glob("*.csv")]):
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        found[path.relative_to(layout.data)] = [row for row in rows if row["user_id"].strip() != person]
    return found
