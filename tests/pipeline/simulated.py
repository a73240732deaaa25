"""Days in the life of a deployment: real schedules, sensors and jobs in one process, with the clock set by hand.

Each day the schedules are asked what is due, in the order of their hours, and after each run the sensors, on a real
Dagster instance; what they ask for is run at once. Only the daemon's waiting is left out.
"""

import contextlib
import gc
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

ROOT = Path(__file__).parents[2]
QUIET = """
compute_logs:   # what steps print is watched by two processes a run, which take as long as the steps
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


@dataclass
class Life:
    """What happened.

    Attributes:
        drift: Status of each day's drift report.
        feed: Status of each day's feed.
        performance: Status of each day's performance report.
        alerts: Alert → the day on which it was first seen, by kind.
        retrains: Day, what asked for it, and the versions that served before and after.
        failures: Runs that failed.
        skipped: Ticks of schedules that asked for nothing, with the reason.
    """

    drift: dict[date, str] = field(default_factory=dict)
    feed: dict[date, str] = field(default_factory=dict)
    performance: dict[date, str] = field(default_factory=dict)
    alerts: dict[str, date] = field(default_factory=dict)
    retrains: list[tuple[date, str, str | None, str | None]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    skipped: list[tuple[date, str, str]] = field(default_factory=list)

    @property
    def promotions(self):
        """Retrains after which another version served."""
        return [one for one in self.retrains if one[2] != one[3]]

    def alerts_of(self, kind):
        """Alerts of a kind, with their first days."""
        return {name: day for name, day in self.alerts.items() if f"@{kind}@" in name}


def configure(folder, first, last, settings):
    """Describe a deployment in this process's environment; before anything of `churn_assets` is imported."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text() + QUIET)
    os.environ |= {
        "DAGSTER_HOME": str(folder),
        "CHURN_PATHS__DATA": str(folder / "data"),
        "CHURN_PATHS__ARTIFACTS": str(folder / "artifacts"),
        "CHURN_SOURCE__START_DATE": first.isoformat(),
        "CHURN_CLOCK__TODAY": last.isoformat(),
        "CHURN_DRIFT__EVIDENTLY": "false",
        "CHURN_NOTIFY__MIN_FREE_GB": "0",
        "DO_NOT_TRACK": "1",
        **settings,
    }


class Simulation:
    """A deployment whose days are lived one by one."""

    def __init__(self):
        import logging

        from churn_assets.automation.dagster_home import instance
        from churn_assets.automation.schedules import SCHEDULES
        from churn_assets.automation.sensors import SENSORS
        from churn_assets.definitions import defs

        logging.getLogger("dagster").setLevel(logging.CRITICAL)
        self.defs, self.schedules, self.sensors = defs, SCHEDULES, SENSORS
        self.instance = instance()
        self.life = Life()
        self._cursors = {}
        self._asked = set()

    def begin(self, first, today):
        """Make the history before the first day, and a model."""
        from churn_assets.automation.launch import run_job

        self._set_clock(today)
        with _silent():
            run_job("history_job", (first, today - timedelta(days=1)))
            run_job("seed_job", (today - timedelta(days=1),) * 2)
        gc.set_threshold(50_000, 20, 50)  # what Dagster and the libraries hold would be looked through all the time

    def live(self, today, *, hours=24):
        """Let one day pass: its ticks, and what they ask for."""
        self._set_clock(today)
        for moment, schedule in self._ticks(today):
            if moment.hour < hours:
                self._tick(schedule, moment, today)
        self._note(today - timedelta(days=1))

    def _ticks(self, today):
        """The ticks of the schedules within a day of their zone, in order."""
        from churn_assets.automation.schedules import next_tick

        found = []
        for schedule in self.schedules:
            zone = ZoneInfo(schedule.execution_timezone)
            begin = datetime.combine(today, time(0), zone) - timedelta(seconds=1)
            moment = next_tick(schedule, begin)
            if moment.date() == today:
                found.append((moment, schedule))
        return sorted(found, key=lambda pair: pair[0])

    def _tick(self, schedule, moment, today):
        import dagster as dg

        context = dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=moment, repository_def=self.defs.get_repository_def()
        )
        context._instance = self.instance  # it would open the same one anew for each tick
        tick = schedule.evaluate_tick(context)
        if tick.skip_message:
            self.life.skipped.append((today, schedule.name, tick.skip_message))
        for request in tick.run_requests or []:
            self._run(schedule.job_name, request, today, schedule.name)
        self.sense(today)

    def sense(self, today):
        """Ask every sensor once, and run what it asks for."""
        import dagster as dg

        for sensor in self.sensors:
            context = dg.build_sensor_context(
                instance=self.instance, definitions=self.defs, cursor=self._cursors.get(sensor.name)
            )
            tick = sensor.evaluate_tick(context)
            self._cursors[sensor.name] = tick.cursor
            for request in tick.run_requests or []:
                self._run(sensor.job_name, request, today, sensor.name)

    def _run(self, job, request, today, trigger):
        key = (trigger, request.run_key)
        if key in self._asked:  # as the daemon, which looks for a run with that key
            return
        self._asked.add(key)
        before = self._production()
        with _silent():
            result = self.defs.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                partition_key=request.partition_key,
                tags=request.tags,
                asset_selection=request.asset_selection,
                run_config={"loggers": {"progress": {}}},
                raise_on_error=False,
            )
        if not result.success:
            self.life.failures.append(f"{today} {job}")
        if job == "retrain_job":
            self.life.retrains.append((today, trigger, before, self._production()))

    def _note(self, day):
        from churn_assets.resources import load_workspace

        layout = load_workspace().layout
        drift, performance = _read(layout.drift_file(day)), _read(layout.performance_file(day))
        if drift:
            self.life.drift[day], self.life.feed[day] = drift["status"], drift["feed"]["status"]
        if performance:
            self.life.performance[day] = performance["status"]
        for report in (drift, performance):
            if report and report["alert"]:
                self.life.alerts.setdefault(report["alert"]["id"], day)

    def _production(self):
        from churn_assets.model_registry import open_registry
        from churn_assets.resources import load_workspace

        serving = open_registry(load_workspace()).production()
        return serving.version if serving else None

    def _set_clock(self, today):
        from churn_assets.resources import load_workspace

        os.environ["CHURN_CLOCK__TODAY"] = today.isoformat()
        load_workspace.cache_clear()


def _read(path):
    return msgspec.json.decode(path.read_bytes()) if path.exists() else None


@contextlib.contextmanager
def _silent():
    """Without the run's log on the terminal."""
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stderr(nothing):
        yield


def today_utc():
    """The real day: Dagster's partitions end with it."""
    return datetime.now(UTC).date()


def main():
    """Live `days` days in `folder` but for those of an outage; print what happened as JSON.

    Arguments: folder, last day, days, first and last day of the outage (numbers from 0, or -1), and settings as
    NAME=VALUE.
    """
    folder, end, days, off, on, *settings = sys.argv[1:]
    last = date.fromisoformat(end)
    start = last - timedelta(days=int(days) - 1)
    first = start - timedelta(days=64)
    configure(Path(folder), first, last, dict(one.split("=", 1) for one in settings))
    simulation = Simulation()
    simulation.begin(first, start)
    for number in range(int(days)):
        if not int(off) <= number <= int(on):
            simulation.live(start + timedelta(days=number))
    life = simulation.life
    sys.stdout.buffer.write(
        msgspec.json.encode(
            {
                "start": start,
                "drift": {day.isoformat(): status for day, status in life.drift.items()},
                "feed": {day.isoformat(): status for day, status in life.feed.items()},
                "performance": {day.isoformat(): status for day, status in life.performance.items()},
                "alerts": life.alerts,
                "retrains": life.retrains,
                "failures": life.failures,
            }
        )
    )


if __name__ == "__main__":
    main()
