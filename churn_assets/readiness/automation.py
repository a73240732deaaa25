"""Automation: whether the loop runs by itself, on the right day, and back again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from churn_assets.readiness.finding import Answer, Check, Section, fails, passes, warns
from churn_assets.readiness.premises import not_here

if TYPE_CHECKING:
    from collections.abc import Collection

    from churn_assets.automation.health import Success, Timing
    from churn_assets.readiness.premises import Premises

DEPLOYED = "CronJobs deployed (drift, retrain)"
RETRAINING = "Automated retraining tested"
ROLLBACK = "Rollback procedure documented"

CRONJOBS = {"drift-cronjob.yaml": "churn-drift-daily", "retrain-cronjob.yaml": "churn-retrain-weekly"}
NIGHTLY = {"drift": ("drift_job", "seed_job"), "predictions": ("daily_job", "seed_job")}
"""What has to succeed every night, and the jobs that do it."""

RETRAINS = ("retrain_job", "seed_job")
RETRAIN_DAYS = 14
"""Two weekly retrains that did not happen."""

REHEARSAL_DAYS = 90
SOON = timedelta(hours=6)
"""A look at a day (UTC) that comes later than this after its end comes late."""

SKEW = timedelta(minutes=5)
"""Clocks of two machines may differ by so much."""

START = "make ui"


def schedules(premises: Premises) -> Answer:
    """Whether all schedules tick."""
    return _timers(premises, "schedule")


def sensors(premises: Premises) -> Answer:
    """Whether all sensors look."""
    return _timers(premises, "sensor")


def daemon(premises: Premises) -> Answer:
    """Whether a daemon lives that looks at clocks and sensors."""
    health = premises.health
    if not health.exists:
        return fails(f"no Dagster instance has run at {health.home}", START)
    dead = [beat for beat in health.beats if not beat.is_alive]
    seen = [beat.at for beat in health.beats if beat.at]
    if not seen:
        return fails("no daemon has ever run", START)
    told = f"{len(health.beats) - len(dead)} of {len(health.beats)} tasks live, the last sign {premises.ago(max(seen))}"
    return fails(f"{told}; silent: {', '.join(beat.task for beat in dead)}", START) if dead else passes(told)


def nightly(premises: Premises) -> Answer:
    """Whether drift report and predictions were made of late."""
    limit = premises.settings.notify.stale_after_days
    told, late = [], []
    for name, jobs in NIGHTLY.items():
        run = _newest(premises, jobs)
        told.append(f"{name} {premises.ago(run.at) if run else 'never'}")
        if run is None or premises.now - run.at > timedelta(days=limit):
            late.append(name)
    found = f"last success: {', '.join(told)}"
    fix = " && ".join({"drift": "churn drift", "predictions": "churn score"}[name] for name in late)
    return warns(f"{found}; {limit} days are allowed", fix) if late else passes(found)


def cronjobs(premises: Premises) -> Answer:
    """Whether the CronJobs are there as templates, and do not tick beside Dagster's daemon."""
    if premises.deployment is None:
        return not_here(premises)
    lacking = [f for f, name in CRONJOBS.items() if premises.deployment.resource("CronJob", name) is None]
    if lacking:
        fix = "git checkout -- deployment/k8s/base"
        return fails(f"{' and '.join(lacking)} of deployment/k8s/base hold no such CronJob", fix)
    found = [premises.deployment.resource("CronJob", name) for name in CRONJOBS.values()]
    ticking = [one for one in found if one and (one.content.get("spec") or {}).get("suspend") is not True]
    if ticking:
        names = ", ".join(one.name for one in ticking)
        return fails(
            f"{names}: not suspended, beside Dagster's schedules", f"set `suspend: true` in {ticking[0].place}"
        )
    return passes(f"{' and '.join(CRONJOBS.values())} are suspended templates; Dagster's daemon keeps the time")


def clock(premises: Premises) -> Answer:
    """Whether it is today, for the settings and for the machine."""
    pinned = premises.settings.clock.today
    if pinned:
        return warns(
            f"`clock.today` is {pinned}: for this system it is always that day",
            "remove `clock.today` and unset CHURN_CLOCK__TODAY",
        )
    written = [entry.time for entry in premises.registry.history()]
    if written and max(written) > premises.now + SKEW:
        ahead = f"the history's last line is of {max(written):%Y-%m-%d %H:%M} UTC"
        return fails(
            f"{ahead}, and by this machine's clock it is {premises.now:%Y-%m-%d %H:%M}", "timedatectl set-ntp true"
        )
    return passes(f"it is {premises.now:%Y-%m-%d %H:%M} UTC")


def time_zone(premises: Premises) -> Answer:
    """Whether days, which end at midnight UTC, are looked at soon after their end."""
    zone = premises.settings.schedules.timezone
    ticks = {timer.name: timer.next_tick for timer in premises.health.timers if timer.next_tick}
    drift = ticks.get("drift_daily")
    if drift is None:
        return fails("there is no schedule `drift_daily`", "git checkout -- churn_assets/automation/schedules.py")
    offset = drift.utcoffset() or timedelta()
    since = (timedelta(hours=drift.hour, minutes=drift.minute) - offset) % timedelta(days=1)
    told = f"{zone}: drift is looked at {since.total_seconds() / 3600:.1f} h after a day (UTC) has ended"
    if since > SOON:
        return warns(told, "set `schedules.timezone: UTC`, or earlier cron lines")
    return passes(told)


def retraining(premises: Premises) -> Answer:
    """Whether a retrain has succeeded that nobody asked for by hand."""
    newest = _newest(premises, RETRAINS)
    itself = _newest([run for run in premises.health.successes if run.by_itself], RETRAINS)
    if newest is None:
        return fails("no retrain has ever succeeded", "churn retrain")
    if itself is None:
        fix = f"{START}, until `retrain_weekly` has ticked ({premises.settings.schedules.retrain})"
        by_hand = f" (`{newest.asked_by}`)" if newest.asked_by else ""
        return warns(f"the last retrain, {premises.ago(newest.at)}, was asked for by hand{by_hand}", fix)
    told = f"{itself.asked_by} has retrained {premises.ago(itself.at)}"
    return warns(told, START) if premises.now - itself.at > timedelta(days=RETRAIN_DAYS) else passes(told)


def documented(premises: Premises) -> Answer:
    """Whether the runbook says how to go back."""
    if premises.deployment is None:
        return not_here(premises)
    path = premises.deployment.root / "RUNBOOK.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    headings = [line for line in text.splitlines() if line.startswith("#") and "rollback" in line.lower()]
    if not headings or "churn models rollback" not in text:
        return fails("deployment/RUNBOOK.md has no section on rollback", "git checkout -- deployment/RUNBOOK.md")
    return passes(f"deployment/RUNBOOK.md, “{headings[0].lstrip('# ')}”")


def rehearsed(premises: Premises) -> Answer:
    """Whether somebody has gone back lately, and so knows that it works."""
    back = [entry for entry in premises.registry.history() if entry.action == "rolled back"]
    fix = _rehearsal(premises)
    if not back:
        return warns("nobody has ever gone back", fix)
    told = f"gone back to {back[-1].version} {premises.ago(back[-1].time)}"
    return passes(told) if premises.now - back[-1].time <= timedelta(days=REHEARSAL_DAYS) else warns(told, fix)


def _rehearsal(premises: Premises) -> str:
    """The two commands that go back and forth again."""
    if premises.production is None or premises.registry.previous_production() is None:
        return "promote a second version first: churn retrain"
    again = f"churn models promote {premises.production.version} --reason 'rehearsal is over'"
    return f"churn models rollback --reason rehearsal && {again}"


def _timers(premises: Premises, timing: Timing) -> Answer:
    health = premises.health
    found = [timer for timer in health.timers if timer.timing == timing]
    off = [timer.name for timer in found if not timer.is_on]
    if not health.exists:
        return fails(f"no Dagster instance has run at {health.home}", START)
    if off:
        fix = " && ".join(f"dagster {timing} start {name} -w workspace.yaml" for name in off)
        return fails(f"{len(off)} of {len(found)} are off: {', '.join(off)}", fix)
    return passes(f"{len(found)} are on: {', '.join(timer.name for timer in found)}")


def _newest(where: Premises | list[Success], jobs: Collection[str]) -> Success | None:
    runs = where if isinstance(where, list) else where.health.successes
    return max((run for run in runs if run.job in jobs), key=lambda run: run.at, default=None)


SECTION = Section(
    "automation",
    "Automation",
    (
        Check(DEPLOYED, "schedules", schedules),
        Check(DEPLOYED, "sensors", sensors),
        Check(DEPLOYED, "daemon", daemon),
        Check(DEPLOYED, "last nights", nightly),
        Check(DEPLOYED, "CronJobs", cronjobs),
        Check(DEPLOYED, "clock", clock),
        Check(DEPLOYED, "time zone", time_zone),
        Check(RETRAINING, "by itself", retraining),
        Check(ROLLBACK, "runbook", documented),
        Check(ROLLBACK, "rehearsed", rehearsed),
    ),
)
