"""Raw rows against the contract: the good ones typed, the others kept with the name of the rule that they break."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from churn_assets.engine import identifier
from churn_assets.ingest import contract
from churn_serving import atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import duckdb

    from churn_assets.settings import Settings


@dataclass(frozen=True)
class Validated:
    """The outcome for one table, or one day of it.

    Attributes:
        clean: The rows that keep the contract, typed, in a fixed order.
        rejected: The others as they came, `rule` first.
    """

    clean: pa.Table
    rejected: pa.Table

    @property
    def rows(self) -> int:
        """How many rows came."""
        return int(self.clean.num_rows + self.rejected.num_rows)

    @property
    def rejects_by_rule(self) -> dict[str, int]:
        """Rejected rows by rule, most first."""
        counts = self.rejected.column("rule").value_counts().to_pylist()
        return {entry["values"]: entry["counts"] for entry in sorted(counts, key=lambda entry: -entry["counts"])}


@dataclass
class Tally:
    """What a gate looks at: rejects by rule over all that one run read."""

    rows: int = 0
    by_rule: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: Validated, sample_rows: int) -> None:
        """Count one outcome in; keep a few rejected rows to show."""
        self.rows += outcome.rows
        for rule, count in outcome.rejects_by_rule.items():
            self.by_rule[rule] = self.by_rule.get(rule, 0) + count
        wanted = sample_rows - len(self.samples)
        if wanted > 0:
            self.samples += outcome.rejected.slice(0, wanted).to_pylist()

    @property
    def rejects(self) -> int:
        """How many rows were rejected."""
        return sum(self.by_rule.values())

    @property
    def share(self) -> float:
        """Rejected rows of all rows; 0 of none."""
        return self.rejects / self.rows if self.rows else 0.0


def validate_users(connection: duckdb.DuckDBPyConnection, raw: pa.Table, settings: Settings) -> Validated:
    """Check `raw_users`.

    Args:
        connection: An engine.
        raw: As a source gives it.
        settings: For the attributes and for what day it is.
    """
    attributes = list(settings.users.attributes)
    rules = contract.user_rules(settings.today)
    _judge(connection, raw, contract.typed_users(raw.column_names, attributes), rules)
    texts = ", ".join(identifier(name) for name in ("plan", "country", "marketing_source", *attributes))
    clean = connection.sql(
        f"SELECT user_id, signup_date, is_paid, {texts} FROM judged WHERE rule IS NULL ORDER BY user_id"
    )
    return Validated(clean.to_arrow_table(), _rejected(connection))


def validate_events(
    connection: duckdb.DuckDBPyConnection, raw: pa.Table, users: pa.Table, settings: Settings
) -> Validated:
    """Check `raw_events` of some days.

    Args:
        connection: An engine.
        raw: As a source gives it, with the column `day`: the day that each row stands under.
        users: The validated users (`user_id`, `signup_date`).
        settings: For the vocabulary and the limits.

    Returns:
        Both tables with the column `day`, the clean one in its order.
    """
    connection.register("known_users", users)
    typed = (
        f"SELECT typed.*, signup_date FROM ({contract.typed_events(raw.column_names)}) typed "
        "LEFT JOIN known_users USING (user_id)"
    )
    _judge(connection, raw, typed, contract.event_rules(settings, raw.column_names))
    clean = connection.sql(
        "SELECT day, user_id, event_type, event_time, "
        f"{contract.on_grid('watch_minutes')} AS watch_minutes, {contract.on_grid('quiz_score')} AS quiz_score, "
        "amount, CAST(coalesce(event_count, 1) AS INTEGER) AS event_count FROM judged WHERE rule IS NULL "
        "ORDER BY day, user_id, event_time, event_type, row_id"
    )
    return Validated(clean.to_arrow_table(), _rejected(connection))


def validate_engagements(connection: duckdb.DuckDBPyConnection, raw: pa.Table, users: pa.Table) -> Validated:
    """Check engagements: a known user, a start, an end not before it."""
    columns = raw.column_names
    parts = [
        f"TRY_CAST({name} AS DATE) AS {name}" if name in columns else f"CAST(NULL AS DATE) AS {name}"
        for name in ("started_on", "ended_on", "cancelled_on")
    ]
    connection.register("known_users", users.select(["user_id", "signup_date"]))
    own = f"SELECT CAST(user_id AS VARCHAR) AS user_id, {', '.join(parts)}, row_id FROM raw"
    typed = f"SELECT own.*, signup_date FROM ({own}) own LEFT JOIN known_users USING (user_id)"
    rules = [
        contract.Rule("user_unknown", "signup_date IS NULL", "no valid user has this id"),
        contract.Rule("started_on_invalid", "started_on IS NULL", "the start is missing or is no date"),
        contract.Rule("ends_before_start", "coalesce(ended_on < started_on, false)", "the end is before the start"),
    ]
    _judge(connection, raw, typed, rules)
    clean = connection.sql(
        "SELECT user_id, started_on, ended_on, cancelled_on FROM judged WHERE rule IS NULL "
        "ORDER BY user_id, started_on, row_id"
    )
    return Validated(clean.to_arrow_table(), _rejected(connection))


def quarantine(path: Path, rejected: pa.Table) -> None:
    """Keep rejected rows as CSV, the rule first; remove the file if there are none any more."""
    if not rejected.num_rows:
        path.unlink(missing_ok=True)
        return
    with atomic.writing(path, keep_if_equal=True) as part:
        pyarrow.csv.write_csv(rejected, part)


def _judge(connection: duckdb.DuckDBPyConnection, raw: pa.Table, typed: str, rules: list[contract.Rule]) -> None:
    """Make the table `judged`: every typed row with the first rule that it breaks, or null."""
    numbered = raw.append_column("row_id", pa.array(np.arange(raw.num_rows)))
    connection.register("raw", numbered)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, {contract.first_broken(rules)} AS rule FROM ({typed})"
    )


def _rejected(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    return connection.sql(
        "SELECT judged.rule, raw.* EXCLUDE (row_id) FROM raw JOIN judged USING (row_id) WHERE judged.rule IS NOT NULL "
        "ORDER BY row_id"
    ).to_arrow_table()


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table, for people who look at the check."""
    if not rows:
        return "none"
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def rule_table(counts: Mapping[str, int], rules: list[contract.Rule]) -> str:
    """Rejects by rule with what each rule says."""
    meanings = {rule.name: rule.meaning for rule in rules}
    return as_markdown([{"rule": name, "rows": n, "meaning": meanings.get(name, "")} for name, n in counts.items()])


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|")[:200]
