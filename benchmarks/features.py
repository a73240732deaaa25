"""What features cost: a whole history, one new day, and a day late in a long history.

`python benchmarks/features.py` takes a few minutes; `--quick` some seconds, with limits that grow with the size.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
from measure import Cost, Line, against, measure, report

from churn_assets.features.build import build_snapshot, read_panel
from churn_assets.features.user_daily import daily_activity
from churn_assets.features.windows import features_as_of
from churn_assets.ingest.synthetic import World, events_of, users_as_of
from churn_assets.layout import cut_by_day, days_between
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

START = date(2025, 1, 1)
FULL_USERS, FULL_DAYS = 200_000, 120
SAMPLE_USERS = 4_000
LATE_DAY, EARLY_DAY = 400, 60


def workspace(folder: Path, days: int) -> Workspace:
    """A deployment whose history begins at `START` and has so many days."""
    today = START + timedelta(days=days)
    content = {
        "paths": {"data": folder / "data", "artifacts": folder / "artifacts"},
        "clock": {"today": today},
        "source": {"start_date": START},
    }
    return Workspace(Settings.model_validate(content))


def make_daily(folder: Path, users: int, days: int) -> int:
    """Generate events and sum them up to `user_daily`, day by day. Returns the number of events."""
    place = workspace(folder, days)
    # The world counts its users as of the 150th day; here they have all come by the last one.
    world = World(epoch=START, users=round(users * 515 / (365 + days)))
    place.layout.users.write(users_as_of(world, place.settings.yesterday))
    total = 0
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        for day in days_between(START, place.settings.yesterday):
            events = events_of(world, day)
            total += events.num_rows
            place.layout.user_daily.write(day, summed(place, engine, events, day))
    return total


def summed(place: Workspace, engine: duckdb.DuckDBPyConnection, events: pa.Table, day: date) -> pa.Table:
    """One day of `user_daily`."""
    events = events.append_column("event_count", pa.repeat(pa.scalar(1, pa.int32()), events.num_rows))
    dated = events.append_column("day", pa.repeat(pa.scalar(day, pa.date32()), events.num_rows))
    relation = nw.from_native(engine.from_arrow(dated))
    daily = daily_activity(relation, place.settings.events.vocabulary).sort("day", "user_id")
    return next(iter(cut_by_day(daily.to_native().to_arrow_table(), [day])))[1]


def whole_history(folder: Path, days: int) -> int:
    """Features of everybody on every day, streamed and not kept. Returns the number of rows."""
    place = workspace(folder, days)
    last = place.settings.yesterday
    panel = read_panel(place, START, last)
    dates = days_between(START, last)
    return sum(int(part.num_rows) for part in features_as_of(panel, dates, place.features))


def one_day(folder: Path, day_number: int) -> int:
    """The snapshot of one day, from files to a file. Returns the number of users."""
    day = START + timedelta(days=day_number - 1)
    return int(build_snapshot(workspace(folder, day_number), day).num_rows)


def long_history(folder: Path, base: Path, days: int) -> None:
    """A history of `LATE_DAY` days in which every span of 30 days holds the same 30 files of `base`.

    So a late and an early day have the same users and the same activity, and only the length of history differs.
    """
    source, target = workspace(base, days).layout, workspace(folder, LATE_DAY).layout
    target.users.write(source.users.read())
    target.user_daily.folder.mkdir(parents=True)
    for number in range(LATE_DAY):
        origin = START + timedelta(days=days - 30 + number % 30)
        os.link(source.user_daily.path(origin), target.user_daily.path(START + timedelta(days=number)))


def pandas_way(folder: Path, days: int) -> int:
    """The plain way, for a sample of users: a dense table of users and days, and pandas' rolling sums by user.

    Returns the number of rows.
    """
    place = workspace(folder, days)
    dates = days_between(START, place.settings.yesterday)
    dense = dense_frame(place, dates)
    dense["active_days"] = (dense["events"] > 0).astype(float)
    rolled(dense, place)
    return len(dense)


def dense_frame(place: Workspace, dates: list[date]) -> pd.DataFrame:
    """Every sampled user on every day, 0 where nothing happened."""
    import pandas as pd

    ids = place.layout.users.read(["user_id"]).column("user_id").to_pylist()
    wanted = ids[:: max(1, len(ids) // SAMPLE_USERS)][:SAMPLE_USERS]
    parts = []
    for day in dates:
        frame = place.layout.user_daily.read(day).to_pandas()
        parts.append(frame[frame["user_id"].isin(wanted)].assign(day=day))
    index = pd.MultiIndex.from_product([wanted, dates], names=["user_id", "day"])
    found: pd.DataFrame = pd.concat(parts).set_index(["user_id", "day"]).reindex(index).fillna(0.0)
    return found


def rolled(dense: pd.DataFrame, place: Workspace) -> dict[str, Any]:
    """Windows, averages, the failure rate, trends and recency."""
    by_user = dense.groupby(level="user_id", sort=False)
    found: dict[str, Any] = {}
    for days in place.features.windows:
        sums = by_user.rolling(days, min_periods=1).sum()
        found |= {f"{name}_{days}d": sums[name] for name in sums.columns}
        found[f"quiz_avg_score_{days}d"] = sums["quiz_score_sum"] / sums["quiz_scores"].replace(0, np.nan)
    failed, paid = found["payment_failed_30d"], found["payment_success_30d"]
    found["payment_fail_rate_30d"] = failed / (failed + paid).replace(0, np.nan)
    for measure_ in (measure_.name for measure_ in place.features.measures if measure_.trend):
        found[f"{measure_}_trend"] = found[f"{measure_}_7d"] * (30 / 7) / found[f"{measure_}_30d"].replace(0, np.nan)
    position = by_user.cumcount()
    last = position.where(dense["active_days"] > 0).groupby(level="user_id", sort=False).ffill()
    found["days_since_last_activity"] = (position - last).fillna(30).clip(upper=30)
    return found


def main() -> int:
    """Measure, print, and say by the exit code whether every limit holds."""
    options = _options()
    users, days = options.users, options.days
    share = users * days / (FULL_USERS * FULL_DAYS)
    with tempfile.TemporaryDirectory() as name:
        base, long = Path(name) / "base", Path(name) / "long"
        made = measure(f"made once: events to user_daily, {users:,} users × {days} days", make_daily, base, users, days)
        whole = measure("whole history of features", whole_history, base, days)
        day = measure("one new day: read 30 days, compute, write", one_day, base, days)
        long_history(long, base, days)
        early, late = (best_of(f"day {number}", long, number) for number in (EARLY_DAY, LATE_DAY))
        sample = measure(f"pandas groupby-rolling, {SAMPLE_USERS:,} users", pandas_way, base, days)
    plain = sample.scaled(whole.amount / sample.amount, "pandas groupby-rolling, scaled to the whole history")
    fixed = 0.5 if share < 1 else 0.0  # seconds that do not grow with the size
    lines = [
        Line("whole history, CPU", whole.cpu_seconds, "s", 40 * share + fixed),
        Line("whole history, peak memory", whole.peak_mb, "MB", 1000),
        Line("one new day, CPU", day.cpu_seconds, "s", 10 * users / FULL_USERS + fixed),
        Line(f"day {LATE_DAY} against day {EARLY_DAY}, CPU", late.cpu_seconds / early.cpu_seconds, "×", 1.2),
        *against(plain, [whole]),
    ]
    return (
        0
        if report("features" if share == 1 else "features_quick", [made, whole, day, early, late, sample, plain], lines)
        else 1
    )


def best_of(name: str, folder: Path, day_number: int, times: int = 3) -> Cost:
    """The cheapest of a few runs: what another process does at the same time only ever adds."""
    return min((measure(name, one_day, folder, day_number) for _ in range(times)), key=lambda cost: cost.cpu_seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=FULL_USERS)
    parser.add_argument("--days", type=int, default=FULL_DAYS)
    parser.add_argument("--quick", action="store_true", help="20,000 users × 60 days")
    options = parser.parse_args()
    if options.quick:
        options.users, options.days = 20_000, 60
    return options


if __name__ == "__main__":
    sys.exit(main())
