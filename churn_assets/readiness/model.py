"""Model: what serves, how good it is, and what there is to go back to."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from churn_assets.readiness.finding import Answer, Check, Section, fails, passes, warns
from churn_assets.readiness.premises import read_report
from churn_serving.errors import ForeignAliasError

if TYPE_CHECKING:
    from churn_assets.readiness.premises import Premises

PROMOTED = "Baseline model trained and promoted"
METRICS = "Metrics acceptable (PR-AUC > 0.60)"
VERSIONING = "Model versioning in place"

OLD_DAYS = 14
"""Two weekly retrains that did not happen."""

CHECKLIST_PR_AUC = 0.60
"""The settings may ask for another floor; then this one is a warning."""

LONGEST_REASON = 100
NO_MODEL = fails("no model serves", "churn seed")


def production(premises: Premises) -> Answer:
    """Whether a model serves, and who made it."""
    try:
        serving = premises.production
    except ForeignAliasError as error:
        return fails(str(error), "churn models rollback")
    if serving is None:
        return NO_MODEL
    told = f"{serving.version} serves since {serving.promoted_at:%Y-%m-%d %H:%M} UTC"
    if serving.actor == "outside":
        fix = f"churn models history; if it was meant, churn models promote {serving.version} --reason WHY"
        return warns(f"{told}; the alias was changed by hand", fix)
    return passes(f"{told}: {textwrap.shorten(serving.promoted_because, LONGEST_REASON, placeholder=' …')}")


def baseline(premises: Premises) -> Answer:
    """Whether there is a simple model to hold the others against."""
    baselines = [one.version for one in premises.registry.versions() if one.role == "baseline"]
    if not baselines:
        return warns("no baseline model is registered", "churn retrain")
    return passes(f"{len(baselines)} registered, the newest is {baselines[0]}")


def sound(premises: Premises) -> Answer:
    """Whether what serves is what was registered, bit by bit, and still scores as it did."""
    if premises.production is None:
        return NO_MODEL
    problems = premises.registry.verify(premises.production.version)
    if problems:
        return fails("; ".join(str(problem) for problem in problems), "churn models rollback")
    golden = len(premises.registry.show(premises.production.version).golden)
    return passes(f"digests hold, and {golden} golden rows score as they did in training")


def age(premises: Premises) -> Answer:
    """When a model was trained last, whether or not it won."""
    if premises.production is None:
        return NO_MODEL
    trained = [one.created_at for one in premises.registry.versions() if one.created_at]
    newest = max(trained)
    cron = premises.settings.schedules.retrain
    told = f"the newest model was trained {premises.ago(newest)}; `schedules.retrain` is {cron}"
    return warns(told, "churn retrain") if (premises.now - newest).days > OLD_DAYS else passes(told)


def pr_auc(premises: Premises) -> Answer:
    """Whether PR-AUC on the holdout is above the floors of the settings, and if they are lower, the checklist's."""
    metrics = _metrics(premises)
    if isinstance(metrics, Answer):
        return metrics
    limits, value = premises.settings.training, metrics.get("pr_auc")
    if value is None:
        return fails("PR-AUC was not measured", "churn retrain")
    told, enough = [f"PR-AUC {value:.3f}"], []
    if limits.min_pr_auc is not None:
        told.append(f"at least {limits.min_pr_auc:.3f} is asked for")
        enough.append(value >= limits.min_pr_auc)
    if limits.min_pr_auc_lift is not None:
        lift = value / metrics["prevalence"]
        told.append(f"{lift:.2f} times the prevalence, where at least {limits.min_pr_auc_lift:.2f} is asked for")
        enough.append(lift >= limits.min_pr_auc_lift)
    if not all(enough):
        return fails(", ".join(told), "churn retrain")
    if limits.min_pr_auc_lift is None and value <= CHECKLIST_PR_AUC:
        lower = f"{', '.join(told)}; the checklist asks for more than {CHECKLIST_PR_AUC:.2f}"
        return warns(lower, f"set `training.min_pr_auc: {CHECKLIST_PR_AUC}`, or a `training.min_pr_auc_lift`")
    return passes(", ".join(told))


def recency(premises: Premises) -> Answer:
    """Whether the model knows more than when somebody was last active."""
    metrics = _metrics(premises)
    if isinstance(metrics, Answer):
        return metrics
    value, alone = metrics.get("pr_auc"), metrics.get("recency_pr_auc")
    least = premises.settings.training.min_gain_over_recency
    if value is None or alone is None:
        return warns("days since last activity alone were not measured beside it", "churn retrain")
    told = f"PR-AUC {value:.3f} against {alone:.3f} of days since last activity alone, {value - alone:+.3f}"
    if value - alone < least:
        return fails(f"{told}; {least:+.3f} is asked for", "churn retrain")
    return passes(told) if value > alone else warns(told, "set `training.min_gain_over_recency: 0.01`")


def calibration(premises: Premises) -> Answer:
    """Whether probabilities mean what they say."""
    metrics = _metrics(premises)
    if isinstance(metrics, Answer):
        return metrics
    value, most = metrics.get("ece"), premises.settings.training.max_ece
    if value is None:
        return warns("the calibration error was not measured", "churn retrain")
    told = f"expected calibration error {value:.4f}, at most {most:.4f}"
    return passes(told) if value <= most else fails(f"{told} is asked for", "churn retrain")


def live(premises: Premises) -> Answer:
    """Whether predictions have come true since."""
    report = read_report(premises.layout.latest_performance)
    if report is None:
        return warns("nobody has looked yet", "churn score")
    told = f"{report['status']} as of {report['as_of_date']}: {report['headline']}"
    if report["status"] == "OK":
        return passes(told)
    return (fails if report["status"] == "FAIL" else warns)(told, report.get("what_to_do") or "churn score")


def history(premises: Premises) -> Answer:
    """Whether the history is what was written."""
    bad = premises.registry.verify_history()
    path = premises.layout.promotion_history
    if bad is not None:
        return fails(f"line {bad} of {path} was changed or is gone", "compare it with a backup: churn restore --help")
    entries = premises.registry.history()
    return passes(f"{len(entries)} lines, chained and unchanged") if entries else fails("it is empty", "churn seed")


def versions(premises: Premises) -> Answer:
    """How many versions are kept, and whether all can be read."""
    found = premises.registry.versions()
    unreadable = [one.version for one in found if one.problem]
    if unreadable:
        return fails(f"{len(unreadable)} of {len(found)} cannot be read: {unreadable[0]}", "churn models verify")
    if len(found) < 2:
        return warns(f"{len(found)} versions", "churn retrain")
    return passes(f"{len(found)} versions, the newest is {found[0].version}")


def way_back(premises: Premises) -> Answer:
    """Whether a rollback has somewhere to go."""
    previous = premises.registry.previous_production()
    if previous is None:
        return warns("no version served before this one", "churn retrain, or churn models promote VERSION")
    problems = premises.registry.verify(previous)
    if problems:
        return fails(f"{previous}: {problems[0]}", "restore it from a backup: churn restore --help")
    return passes(f"a rollback goes to {previous}, which is sound")


def _metrics(premises: Premises) -> dict[str, Any] | Answer:
    """The figures of what serves, or why there are none."""
    if premises.production is None:
        return NO_MODEL
    path = premises.layout.metrics / "production_latest.json"
    content = read_report(path)
    told = "is not there" if content is None else f"is of {content.get('version')}"
    if content is None or content.get("version") != premises.production.version:
        return fails(f"{path} {told}, and {premises.production.version} serves", "churn models history")
    metrics = content.get("metrics")
    return metrics if isinstance(metrics, dict) else fails(f"{path} holds no metrics", "churn retrain")


SECTION = Section(
    "model",
    "Model",
    (
        Check(PROMOTED, "production", production),
        Check(PROMOTED, "baseline", baseline),
        Check(PROMOTED, "sound", sound),
        Check(PROMOTED, "age", age),
        Check(METRICS, "floor", pr_auc),
        Check(METRICS, "beats recency", recency),
        Check(METRICS, "calibration", calibration),
        Check(METRICS, "live", live),
        Check(VERSIONING, "history", history),
        Check(VERSIONING, "versions", versions),
        Check(VERSIONING, "way back", way_back),
    ),
)
