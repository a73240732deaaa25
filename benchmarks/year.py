"""A year in the life: does the loop run itself, does it alert when it should, and is it quiet when it should be?

Generated users, a real Dagster instance with real schedule and sensor ticks in one process. One year without drift, one
with a seasonal swing, and for each thing that may happen some months with it: what was detected, after how many days,
and how predictions came true before, during and after.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from measure import Cost, Line, measure, report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "pipeline"))

HISTORY_DAYS, SEASONS_DAYS = 150, 425
YEAR, MONTHS = 365, 120
ONSET = 32
"""Day of a scenario on which something happens."""

TEST_DAYS = 28
"""As-of dates before, right after and long after it, over which predictions are judged."""

MOST_SECONDS = 600.0


@dataclass(frozen=True)
class Scenario:
    """Something that may happen.

    Attributes:
        name: In words.
        settings: Of the generated source; empty if nothing happens.
        days: How long it is watched.
        lasts: Days that it lasts; None if it stays.
        wanted: What should come of it: `drift`, `performance`, `feed`, or nothing.
        history: Days before the first that is lived.
        always: Whether it has always been so, in the history too.
    """

    name: str
    kind: str = ""
    days: int = MONTHS
    lasts: int | None = None
    wanted: str = ""
    history: int = HISTORY_DAYS
    always: bool = False


SCENARIOS = {
    "none": Scenario("no drift", days=YEAR),
    "behaviour": Scenario("abrupt shift in behaviour", "behaviour", wanted="drift"),
    "gradual": Scenario("gradual shift over 90 days", "gradual", wanted="drift"),
    "countries": Scenario("new country mix", "countries"),
    "new_source": Scenario("marketing source never seen", "new_source"),
    "season": Scenario("seasonal swing, known for a year", "season", days=YEAR, history=SEASONS_DAYS, always=True),
    "new_season": Scenario("seasonal swing, never seen before", "season", days=YEAR, wanted="drift"),
    "minutes_in_seconds": Scenario("minutes in seconds, 20 days", "minutes_in_seconds", lasts=20, wanted="feed"),
    "half_missing": Scenario("half of the events missing, 2 days", "half_missing", lasts=2, wanted="feed"),
    "concept": Scenario("concept change at unchanged inputs", "concept", wanted="performance"),
}


@dataclass(frozen=True)
class Found:
    """What came of a scenario.

    Attributes:
        drift_alerts: Drift alerts from the onset on.
        performance_alerts: Performance alerts from the onset on.
        feed_faults: Days from the onset on whose feed was called broken.
        early_alerts: Alerts before the onset.
        days_to_detect: From the onset to the first that was wanted; None if there was none.
        retrains: All of them.
        answers: Those that answered an alert.
        promotions: Retrains that another version came of.
        worse: Promotions after which the new model did worse than its predecessor would have, beyond the interval.
        before: Realised PR-AUC before the onset.
        during: Right after it.
        after: At the end.
        failures: Runs that failed.
        seconds: How long it took.
    """

    drift_alerts: int
    performance_alerts: int
    feed_faults: int
    early_alerts: int
    days_to_detect: int | None
    retrains: int
    answers: int
    promotions: int
    worse: int
    before: float | None
    during: float | None
    after: float | None
    failures: int
    seconds: float


def live(folder: Path, name: str, users: int, days: int) -> int:
    """Live through a scenario in this process; writes `folder`/found.json, returns the days."""
    import simulated

    scenario = SCENARIOS[name]
    last = simulated.today_utc()
    start = last - timedelta(days=days - 1)
    first = start - timedelta(days=scenario.history)
    onset = start + timedelta(days=ONSET)
    simulated.configure(folder, first, last, _settings(scenario, first if scenario.always else onset, users))
    began = time.perf_counter()
    simulation = simulated.Simulation()
    simulation.begin(first, start)
    for number in range(days):
        simulation.live(start + timedelta(days=number))
    seconds = time.perf_counter() - began
    found = _judge(simulation.life, scenario, Dates(start, onset, last), seconds)
    (folder / "found.json").write_text(json.dumps(asdict(found)))
    return days


def main() -> int:
    """Print a table of what came of each scenario; 1 if a limit is broken."""
    options = _options()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.at_once) as pool:
        folders = {key: Path(name) / key for key in options.names or SCENARIOS}
        costs = list(pool.map(lambda key: _measured(folders[key], key, options), folders))
        found = {key: Found(**json.loads((folder / "found.json").read_text())) for key, folder in folders.items()}
    _print_table(found)
    lines = [line for key, result in found.items() for line in _lines(SCENARIOS[key], result)]
    return 0 if report("year_quick" if options.quick else "year", costs, lines) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(SCENARIOS)}; all if none is given")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument(
        "--at-once", type=int, default=1, help="how many at the same time; their times then mean little"
    )
    parser.add_argument("--quick", action="store_true", help="a year is four months")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(SCENARIOS)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return options


def _measured(folder: Path, name: str, options: argparse.Namespace) -> Cost:
    scenario = SCENARIOS[name]
    days = min(scenario.days, MONTHS) if options.quick else scenario.days
    return measure(f"{scenario.name}, {days} days", live, folder, name, options.users, days)


def _settings(scenario: Scenario, onset: date, users: int) -> dict[str, str]:
    settings = {"CHURN_SOURCE__SYNTHETIC__USERS": str(users)}
    if scenario.kind == "minutes_in_seconds":  # else the gate stops the day first: nobody watches for 24 hours
        settings["CHURN_VALIDATION__MAX_REJECT_SHARE"] = "0.2"
    if not scenario.kind:
        return settings
    until = {} if scenario.lasts is None else {"UNTIL": (onset + timedelta(days=scenario.lasts - 1)).isoformat()}
    drift = {"SCENARIO": scenario.kind, "DRIFT": "1.0", "DRIFT_FROM": onset.isoformat()}
    named = drift | {f"DRIFT_{key}": value for key, value in until.items()}
    return settings | {f"CHURN_SOURCE__SYNTHETIC__{key}": value for key, value in named.items()}


@dataclass(frozen=True)
class Dates:
    """First and last day that are lived, and the day on which something happens."""

    start: date
    onset: date
    last: date


def _judge(life: Any, scenario: Scenario, dates: Dates, seconds: float) -> Found:
    from churn_assets.resources import load_workspace

    workspace = load_workspace()
    start, onset, last = dates.start, dates.onset, dates.last
    since = onset if scenario.kind and not scenario.always else start
    late = {name: day for name, day in life.alerts.items() if day >= since}
    faults = [day for day, status in life.feed.items() if status == "FAULT" and day >= since]
    mature = last - timedelta(days=workspace.features.label_window + 1)
    return Found(
        drift_alerts=sum("@drift@" in name for name in late),
        performance_alerts=sum("@performance@" in name for name in late),
        feed_faults=len(faults),
        early_alerts=len(life.alerts) - len(late),
        days_to_detect=_days_to_detect(scenario, late, faults, onset),
        retrains=len(life.retrains),
        answers=sum(trigger.endswith("_alert_retrain") for _, trigger, _, _ in life.retrains),
        promotions=len(life.promotions),
        worse=sum(_is_worse(workspace, promotion, mature) for promotion in life.promotions),
        before=_realised(workspace, onset - timedelta(days=TEST_DAYS), onset - timedelta(days=1)),
        during=_realised(workspace, onset, onset + timedelta(days=TEST_DAYS - 1)),
        after=_realised(workspace, mature - timedelta(days=TEST_DAYS - 1), mature),
        failures=len(life.failures),
        seconds=seconds,
    )


def _days_to_detect(scenario: Scenario, alerts: dict[str, date], faults: list[date], onset: date) -> int | None:
    if scenario.wanted == "feed":
        days = faults
    else:
        days = [day for name, day in alerts.items() if f"@{scenario.wanted}@" in name]
    return (min(days) - onset).days + 1 if days else None


def _realised(workspace: Any, first: date, last: date) -> float | None:
    """PR-AUC of the daily lists of some days, as they came true."""
    import pyarrow.parquet as pq
    from sklearn.metrics import average_precision_score

    from churn_assets.layout import days_between

    files = [workspace.layout.outcomes_file(day) for day in days_between(first, last)]
    tables = [pq.read_table(path, columns=["score", "churned"]) for path in files if path.exists()]
    if not tables:
        return None
    scores, churned = (np.concatenate([table[name].to_numpy() for table in tables]) for name in ("score", "churned"))
    return float(average_precision_score(churned, scores)) if 0 < churned.sum() < len(churned) else None


def _is_worse(workspace: Any, promotion: tuple[date, str, str | None, str | None], mature: date) -> bool:
    """Whether, in the week after a promotion, the new model did worse than the old one would have."""
    from churn_assets.features.build import training_rows
    from churn_assets.model_registry import open_registry
    from churn_assets.training.bootstrap import paired_difference
    from churn_assets.training.build import as_frame

    day, _, before, after = promotion
    if before is None or after is None or day + timedelta(days=6) > mature:
        return False
    rows = as_frame(training_rows(workspace, [day + timedelta(days=number) for number in range(7)]))
    registry = open_registry(workspace)
    scores = [
        scorer.score(scorer.encode_columns(rows))
        for scorer in (registry.load(version).scorer for version in (after, before))
    ]
    found = paired_difference(rows["churned"], *scores, rows["user_id"], seed=7, replicates=200)
    return found.high is not None and found.high < 0


def _lines(scenario: Scenario, found: Found) -> list[Line]:
    name = scenario.name
    lines = [
        Line(f"{name}: runs that failed", found.failures, "", 0),
        Line(f"{name}: alerts before anything happened", found.early_alerts, "", 1),
        Line(f"{name}: promotions that made it worse", found.worse, "", 0 if not scenario.kind else None),
    ]
    if not scenario.kind:
        lines += [
            Line(f"{name}: drift alerts", found.drift_alerts, "", 1),
            Line(f"{name}: wall clock", found.seconds, "s", MOST_SECONDS),
        ]
    if scenario.always:
        lines.append(Line(f"{name}: alerts", found.drift_alerts + found.performance_alerts, "", 1))
    if scenario.wanted:
        lines.append(Line(f"{name}: was it found", float(found.days_to_detect is not None), "", least=1))
    if scenario.wanted == "feed":
        lines.append(Line(f"{name}: retrains because of it", found.answers, "", 0))
    return lines


def _print_table(found: dict[str, Found]) -> None:
    """The README's table, in Markdown."""
    columns = (
        "what happens",
        "wanted",
        "days to tell",
        "drift / performance alerts, broken feed days",
        "retrains (answers)",
        "promotions",
        "PR-AUC before, during, after",
    )
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for key, one in found.items():
        wanted = SCENARIOS[key].wanted or "nothing wanted"
        days = "" if one.days_to_detect is None else str(one.days_to_detect)
        areas = ", ".join("–" if value is None else f"{value:.2f}" for value in (one.before, one.during, one.after))
        print(
            f"| {SCENARIOS[key].name} | {wanted} | {days} | {one.drift_alerts} / {one.performance_alerts}, "
            f"{one.feed_faults} | {one.retrains} ({one.answers}) | {one.promotions} | {areas} |"
        )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
