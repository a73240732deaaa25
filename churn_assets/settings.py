"""Every setting of the pipeline, in one place, validated at start.

The keys are those of the YAML file that `CHURN_MLOPS_CONFIG` names; each can be overridden by an environment
variable (see `churn_serving.settings`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Self

from pydantic import Field, field_validator, model_validator

from churn_assets.source_settings import Cron, Days, EventSettings, Share, SourceSettings, TimeZone, UserSettings
from churn_serving.settings import ClockSettings, Paths, Section, ServingSettings, read_settings


class ValidationSettings(Section):
    """The gate between raw and trusted data."""

    max_reject_share: Share = Field(default=0.02, description="A larger share of rejected rows stops the run.")
    signup_tolerance_days: int = Field(default=1, ge=0, description="An event may come this much before signup.")
    max_watch_minutes: float = Field(default=1440.0, gt=0)
    sample_rows: int = Field(default=5, ge=0, le=100, description="Rejected rows shown in the check.")


class PopulationSettings(Section):
    """Who is at risk and is scored."""

    active_within_days: Days = 30


class FeatureSettings(Section):
    """Windows over which activity is summed."""

    windows_days: tuple[Days, ...] = (7, 14, 30)

    @field_validator("windows_days")
    @classmethod
    def _ascending(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if not windows or list(windows) != sorted(set(windows)):
            raise ValueError("windows must be given once each, shortest first, such as [7, 14, 30]")
        return windows


class ChurnSettings(Section):
    """The label: no activity in this many days after the as-of date."""

    window_days: Days = 30


class ModelSettings(Section):
    """Tuning, with defaults that suit some thousand to some million rows."""

    logistic_penalty: float = Field(
        default=0.02,
        gt=0,
        description="L2 penalty of the logistic regression, a row. Windows of one measure say nearly the same; without "
        "a penalty some of them take the opposite sign, and reasons contradict common sense.",
    )
    learning_rate: float = Field(default=0.06, gt=0, le=1, description="Shrinkage of each tree.")
    iterations: int = Field(default=150, ge=1, le=5000, description="Number of trees.")
    max_leaf_nodes: int = Field(default=15, ge=2, le=31, description="The compiled scorer has 32 bits for a tree.")
    min_samples_leaf: int = Field(default=40, ge=1, description="Fewest training rows of a leaf.")
    l2: float = Field(default=1.0, ge=0, description="Penalty on the leaf values.")
    max_levels: int = Field(default=50, ge=1, description="Levels of a category; rarer ones count as unseen.")
    level_min_rows: int = Field(default=20, ge=1, description="Fewest training rows of such a level.")
    threads: int = Field(
        default=1,
        ge=1,
        description="Threads that grow the trees; the result does not depend on it. More of them help on idle cores "
        "from some 100,000 rows on; on busy ones they wait for each other.",
    )


class GateSettings(Section):
    """What a model must show before it serves."""

    min_pr_auc: Share | None = Field(default=0.60, description="Least PR-AUC; null for no absolute floor.")
    min_pr_auc_lift: float | None = Field(default=None, ge=1, description="Least PR-AUC over the prevalence.")
    min_gain_over_recency: float = Field(default=0.01, description="PR-AUC above days-since-last-activity alone.")
    max_pr_auc_drop: Share = Field(default=0.01, description="Most PR-AUC that may be lost against the champion.")
    max_ece: Share = Field(default=0.05, description="Most expected calibration error.")
    max_golden_error: float = Field(default=1e-9, ge=0, description="Of a golden row's score after the round trip.")
    max_latency_us: float = Field(default=2000.0, gt=0, description="One row through the compiled scorer.")


class TrainingSettings(GateSettings):
    """How models are trained, and what a model must show before it serves."""

    seed: int = 7
    every_days: Days = Field(default=7, description="Distance of the as-of dates that are learned from.")
    history_days: Days = Field(default=1095, description="How far back training looks.")
    max_rows: int = Field(default=1_500_000, ge=1000, description="More rows than this are sampled by user.")
    test_share: float = Field(default=0.25, gt=0.0, lt=0.9)
    calibration_share: float = Field(default=0.15, gt=0.0, lt=0.9)
    bootstrap_replicates: int = Field(default=200, ge=20, le=5000)
    model: ModelSettings = ModelSettings()


class DriftSettings(Section):
    """When the scored population is no longer the one that was learned from."""

    warn_psi: float = Field(default=0.10, gt=0, description="Of a feature: worth a look.")
    alert_psi: float = Field(default=0.25, gt=0, description="Of a feature: a large shift; by itself it only warns.")
    warn_score_psi: float = Field(default=0.05, gt=0, description="Of the score: from here on it warns.")
    alert_score_psi: float = Field(default=0.08, gt=0, description="Of the score: such a day calls for an alert.")
    alert_promise_drop: Share = Field(
        default=0.05, gt=0, description="ROC-AUC that the scores promise less than in the holdout: the same."
    )
    consecutive_days: int = Field(default=3, ge=1, le=30, description="So many days in a row make an alert.")
    evidently: bool = Field(default=True, description="Whether Evidently draws a page behind the report.")
    page_rows: int = Field(default=20_000, ge=100, le=50_000, description="Rows of the sample that Evidently draws.")

    page_features: int = Field(default=15, ge=1, description="Features that Evidently draws: those that moved most.")

    @model_validator(mode="after")
    def _warns_before_it_alerts(self) -> Self:
        if self.warn_psi >= self.alert_psi or self.warn_score_psi >= self.alert_score_psi:
            raise ValueError("warn_psi must be below alert_psi, and warn_score_psi below alert_score_psi")
        return self


class QualitySettings(Section):
    """When a day's feed is broken rather than different."""

    baseline_days: Days = Field(default=28, description="Days before it that a day is compared with.")
    min_volume: Share = Field(default=0.6, description="Fewer events than this share of the usual is a fault.")
    max_volume: float = Field(default=2.5, gt=1, description="More events than this multiple of the usual is a fault.")
    max_null_rise: Share = Field(default=0.2, description="A larger rise of a column's share of nulls is a fault.")
    max_duplicates: Share = Field(default=0.05, description="A larger rise of the share of repeated rows is a fault.")
    max_scale: float = Field(default=5.0, gt=1, description="A median that moved by such a factor is another unit.")
    settles_after_days: Days = Field(
        default=7, description="So many days at a new volume are the new usual: people changed, not the feed."
    )


class PerformanceSettings(Section):
    """When predictions are judged by what happened."""

    weeks: int = Field(default=26, ge=1, le=520, description="Weeks of as-of dates that are reported.")
    judged_days: Days = Field(default=14, description="As-of dates, newest mature ones, that decide about an alert.")
    max_pr_auc_drop: Share = Field(default=0.10, description="PR-AUC below the expected one from which an alert comes.")
    max_roc_auc_drop: Share = Field(default=0.05, description="The same for ROC-AUC.")
    min_positives: int = Field(default=30, ge=1, description="Fewer people who left say nothing.")


class RetrainingSettings(Section):
    """How alerts are answered."""

    cooldown_days: Days = Field(default=7, description="A standing alert is answered again after so many days.")
    max_attempts: int = Field(default=3, ge=1, le=10, description="Retrains of one answer, if they fail.")
    retry_after_seconds: int = Field(
        default=300, ge=1, description="Until the first; each further one takes as long again."
    )
    look_every_seconds: int = Field(default=30, ge=1, le=3600, description="How often alerts are looked for.")
    refusals_to_tell: int = Field(default=3, ge=1, description="Refusals in a row after which a person is needed.")


class ScoringSettings(Section):
    """The daily list."""

    top_k: int = Field(default=50, ge=1, description="Rows of the short list.")


class ScheduleSettings(Section):
    """When things run."""

    timezone: TimeZone = "UTC"
    drift: Cron = "0 1 * * *"
    batch: Cron = "0 2 * * *"
    retrain: Cron = "0 3 * * 0"
    clean: Cron = "0 5 * * 0"


class NotifySettings(Section):
    """Whom to tell."""

    urls: list[str] = Field(default_factory=list, description="Apprise URLs: mail, Slack, Teams, webhooks and more.")
    repeat_days: Days = Field(default=7, description="What still holds is told again after so many days.")
    min_free_gb: float = Field(default=2.0, ge=0, description="Less free disk than this is told.")
    stale_after_days: Days = Field(default=2, description="Predictions so far behind are told.")


class RetentionSettings(Section):
    """What `churn clean` keeps; what is needed is kept in any case. None keeps everything."""

    predictions_days: Days | None = Field(default=90, description="Daily lists.")
    features_days: Days | None = Field(default=90, description="Daily snapshots.")
    raw_days: Days | None = Field(default=None, description="Raw and validated events; training reads `user_daily`.")
    quarantine_days: Days | None = Field(default=90, description="Rejected rows.")
    reports_days: Days | None = Field(default=180, description="Drift and performance reports, pages, score proxies.")
    prediction_log_days: Days | None = Field(default=90, description="What the service has answered.")
    runs_days: Days | None = Field(default=90, description="Dagster's runs and their events.")
    models_count: int | None = Field(default=60, ge=2, description="Newest versions.")


class BackupSettings(Section):
    """Where backups go, and how old the newest may be."""

    destination: str = Field(default="", description="Folder or fsspec URL; empty for none.")
    max_age_days: Days = Field(default=7, description="`churn doctor` fails beyond.")


class Settings(Section):
    """The whole file."""

    paths: Paths = Paths()
    clock: ClockSettings = ClockSettings()
    source: SourceSettings = SourceSettings()
    events: EventSettings = EventSettings()
    users: UserSettings = UserSettings()
    validation: ValidationSettings = ValidationSettings()
    population: PopulationSettings = PopulationSettings()
    features: FeatureSettings = FeatureSettings()
    churn: ChurnSettings = ChurnSettings()
    training: TrainingSettings = TrainingSettings()
    scoring: ScoringSettings = ScoringSettings()
    drift: DriftSettings = DriftSettings()
    quality: QualitySettings = QualitySettings()
    performance: PerformanceSettings = PerformanceSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    schedules: ScheduleSettings = ScheduleSettings()
    serving: ServingSettings = ServingSettings()
    notify: NotifySettings = NotifySettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()

    @property
    def today(self) -> date:
        """The day it is, in UTC: the one answer to that question."""
        return self.clock.today or datetime.now(UTC).date()

    @property
    def yesterday(self) -> date:
        """The newest whole day: what daily runs build."""
        return self.today - timedelta(days=1)


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises:
        SettingsError: The configuration is refused; the message says which key, which value and what is allowed.
    """
    return read_settings(Settings)
