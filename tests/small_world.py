"""The world in which graphs, commands and documents are tested."""

from datetime import date

TODAY = date(2026, 11, 23)
DAYS = 64

SMALL_WORLD = {
    "CHURN_CLOCK__TODAY": TODAY.isoformat(),
    "CHURN_SOURCE__SYNTHETIC__USERS": "400",
    "CHURN_SOURCE__SYNTHETIC__HISTORY_DAYS": str(DAYS),
    "CHURN_FEATURES__WINDOWS_DAYS": "[7, 30]",
    "CHURN_CHURN__WINDOW_DAYS": "7",
    "CHURN_TRAINING__EVERY_DAYS": "3",
    "CHURN_TRAINING__BOOTSTRAP_REPLICATES": "20",
    "CHURN_TRAINING__MODEL__ITERATIONS": "20",
    "CHURN_TRAINING__MIN_PR_AUC": "0.1",
    "CHURN_TRAINING__MIN_GAIN_OVER_RECENCY": "-1",
    "CHURN_TRAINING__MAX_PR_AUC_DROP": "1",
    "CHURN_TRAINING__MAX_ECE": "0.5",
    "CHURN_TRAINING__MAX_LATENCY_US": "1000000",
    "CHURN_DRIFT__PAGE_ROWS": "100",
    "CHURN_SERVING__PORT": "1",
}
"""Two months of four hundred users, and gates that any model passes: the graph is tested here, not the models."""
