"""What `make all` does once everything is installed: 2,000 users × 150 days, the whole graph."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from measure import Cost, Line, against, measure_command, report

REFERENCE_CPU_SECONDS = 240.0
"""What the runbook's own reference system needs for 2,000 users × 120 days, as its users measured it."""

MOST_WALL_SECONDS = 40.0
MOST_MB = 1200.0
LEAST_PR_AUC = 0.60
LEAST_GAIN = 0.10
ROOT = Path(__file__).parent.parent


def main() -> int:
    """Run `churn seed` in an empty folder; 1 if a limit is broken."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
        cost = measure_command("churn seed", [sys.executable, "-m", "churn_assets", "seed"], Path(folder))
        found = json.loads((Path(folder) / "artifacts/metrics/production_latest.json").read_text())["metrics"]
    reference = Cost("the runbook's reference system (on record, not run here)", REFERENCE_CPU_SECONDS, 0.0, 0.0, 0.0)
    lines = [
        Line("whole graph, wall clock", cost.wall_seconds, "s", MOST_WALL_SECONDS),
        Line("whole graph, peak memory", cost.peak_mb, "MB", MOST_MB),
        *against(reference, [cost]),
        Line("PR-AUC short of the floor by", max(0.0, LEAST_PR_AUC - found["pr_auc"]), "", 0.0),
        Line("gain over recency short by", max(0.0, LEAST_GAIN - found["gain_over_recency"]), "", 0.0),
        Line("PR-AUC of the promoted model", found["pr_auc"], ""),
        Line("PR-AUC of recency alone", found["recency_pr_auc"], ""),
        Line("prevalence", found["prevalence"], ""),
    ]
    return 0 if report("first_run", [cost], lines) else 1


if __name__ == "__main__":
    sys.exit(main())
