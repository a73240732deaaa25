"""The feature catalogue and the rules of raw data as Markdown, written from the definitions that the code runs on.

`python -m churn_assets.features.catalogue_page > docs/features.md` writes the catalogue; with the argument `rules` it
prints the rules as they stand in `docs/own-data.md`.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from churn_assets.features.catalogue import FeatureSet, feature_set
from churn_assets.ingest.contract import event_rules, user_rules
from churn_assets.ingest.source import EVENT_VALUES, USER_COLUMNS, Provided
from churn_assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.ingest.contract import Rule
    from churn_serving.schema import FeatureSpec

_HEAD = """# Features

Every feature, as the default settings make it from a source that has everything. This page is generated:
`python -m churn_assets.features.catalogue_page > docs/features.md`.

- A feature belongs to a user and an **as-of date**. A window of {first} days is the as-of date and the {before} days
  before it. Nothing that happens later is ever looked at.
- Days are UTC. Minutes and scores are kept to 1/1024, so that sums are the same in whatever order they are added.
- An **action** is an event that the user did (`activity: true` in `events.types`). An **active day** has at least one.
- A **missing** value is missing, not zero, and the models see it as such.
- A feature whose data the source does not have is **absent**: left out of the table and of the model, and listed in
  the metadata of `user_features` and `training_set` and in the model card. The table below says what each group needs.
- A user is **at risk** on the as-of date if active in the last {active} days. The **label** is 1 if no activity follows
  in the {label} days after it. Where the source has `engagements`, only users count who have one that runs on the as-of
  date and beyond those {label} days.

Windows (here {windows} days), event types and attributes come from the settings, and so do the features: a further
event type with `counts: forum_visits` gives `forum_visits_{first}d` and so on, a further attribute a category of its
name.

| group | features | needs |
|---|---|---|
{summary}
"""

_GROUPS = {
    "Activity in windows": "events; each count its event type, `watch_minutes_*` the column `watch_minutes`",
    "Scores and payments": "`quiz_score`; both kinds of payment",
    "Trends": "as the activity they compare; more than one window",
    "Time": "events and `signup_date`",
    "Engagements": "`engagements`",
    "The user": "the users' column of that name; `users.attributes` adds further ones",
}


def catalogue_page(features: FeatureSet) -> str:
    """Every feature by group: name, meaning, unit, possible values, what missing means; as Markdown.

    Args:
        features: What a deployment computes.
    """
    groups = _grouped(features.specs)
    head = _HEAD.format(
        before=features.windows[0] - 1,
        active=features.active_within,
        label=features.label_window,
        windows=", ".join(str(days) for days in features.windows),
        first=features.windows[0],
        summary="\n".join(f"| {name} | {len(specs)} | {_GROUPS[name]} |" for name, specs in groups.items()),
    )
    return head + "".join(_section(name, specs) for name, specs in groups.items())


def rules_page(settings: Settings) -> str:
    """The rules for users and events, in the order in which they are tried, as two Markdown tables.

    Args:
        settings: For the limits that the rules name.
    """
    columns = [*USER_COLUMNS, *EVENT_VALUES]
    users = _rule_table(user_rules(settings.today))
    events = _rule_table(event_rules(settings, columns))
    return f"**Users**\n\n{users}\n\n**Events**\n\n{events}\n"


def complete_features(settings: Settings) -> FeatureSet:
    """What a deployment computes whose source has everything.

    Args:
        settings: For windows, event types and attributes.
    """
    everything = Provided(
        event_types=frozenset(settings.events.vocabulary),
        values=frozenset(EVENT_VALUES),
        user_columns=frozenset((*USER_COLUMNS, *settings.users.attributes)),
        engagements=True,
    )
    return feature_set(settings, everything)


def _grouped(specs: Sequence[FeatureSpec]) -> dict[str, list[FeatureSpec]]:
    """Features by group, in the order of the groups; empty ones are left out."""
    found = {name: [spec for spec in specs if _group(spec) == name] for name in _GROUPS}
    return {name: members for name, members in found.items() if members}


def _group(spec: FeatureSpec) -> str:
    if spec.kind != "number":
        return "The user"
    if "engagement" in spec.name:
        return "Engagements"
    if "_trend_" in spec.name:
        return "Trends"
    if spec.name.startswith(("days_since_", "longest_gap_")):
        return "Time"
    averaged = spec.name.startswith(("quiz_avg_", "payment_fail_rate_"))
    return "Scores and payments" if averaged else "Activity in windows"


def _section(name: str, specs: Sequence[FeatureSpec]) -> str:
    rows = [
        f"| `{spec.name}` | {spec.meaning} | {spec.unit or spec.kind} | {_bounds(spec)} | {spec.null_meaning} |"
        for spec in specs
    ]
    lines = [f"\n## {name}\n", "| name | meaning | unit | possible | if missing |", "|---|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _bounds(spec: FeatureSpec) -> str:
    if spec.kind == "category":
        return "any text"
    if spec.kind == "flag":
        return "0 or 1"
    if math.isinf(spec.upper):
        return f"{_number(spec.lower)} or more"
    return f"{_number(spec.lower)} to {_number(spec.upper)}"


def _number(value: float) -> str:
    """At most three decimals, and a minus sign that reads as one."""
    return f"{round(value, 3):g}".replace("-", "−")


def _rule_table(rules: Sequence[Rule]) -> str:
    lines = [f"| `{rule.name}` | {rule.meaning} |" for rule in rules]
    return "\n".join(["| rule | what is wrong |", "|---|---|", *lines])


def _main(arguments: Sequence[str]) -> None:
    settings = Settings()
    page = rules_page(settings) if list(arguments) == ["rules"] else catalogue_page(complete_features(settings))
    sys.stdout.write(page)


if __name__ == "__main__":
    _main(sys.argv[1:])
