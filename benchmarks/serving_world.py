"""What the serving benchmark serves and sends: generated users, a deployment for each model, whole requests."""

from __future__ import annotations

import itertools
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq
from http_load import post
from measure import measure_command

from churn_serving.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from churn_serving.manifest import ModelType

ROOT = Path(__file__).parent.parent
BATCH_ROWS = 1000
BATCHES = 4


@dataclass(frozen=True)
class World:
    """What `churn seed` has built in a folder."""

    folder: Path

    @classmethod
    def seeded(cls, folder: Path) -> World:
        """Build it: half a minute."""
        folder.mkdir()
        (folder / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
        measure_command("churn seed", [sys.executable, "-m", "churn_assets", "seed"], folder)
        return cls(folder)

    def deployment(self, model_type: ModelType, folder: Path) -> Deployment:
        """Copy what the service reads, and promote the newest model of a type there."""
        for part in ("artifacts", "data/features/online", "data/predictions/online"):
            shutil.copytree(self.folder / part, folder / part)
        registry = Registry(folder / "artifacts")
        registry.promote(self._version(model_type), actor="benchmark", reason="to be measured")
        return Deployment(folder)

    def artifact(self, model_type: ModelType) -> Path:
        """Return the newest model of a type as scikit-learn's pipeline."""
        return self.folder / "artifacts" / "models" / f"{self._version(model_type)}.joblib"

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the newest features of everybody at risk, by user id."""
        newest = max((self.folder / "data/features/user_features").glob("*.parquet"))
        table = pq.read_table(newest)
        table = table.filter(table.column("at_risk"))
        features = table.drop_columns(["user_id", "as_of_date", "at_risk"]).to_pylist()
        return dict(zip(table.column("user_id").to_pylist(), features, strict=True))

    def _version(self, model_type: ModelType) -> str:
        versions = Registry(self.folder / "artifacts").versions()
        return next(found.version for found in versions if found.model_type == model_type)


@dataclass(frozen=True)
class Deployment:
    """A folder with one model in production."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the settings with which the service serves it."""
        return {
            "CHURN_PATHS__DATA": str(self.folder / "data"),
            "CHURN_PATHS__ARTIFACTS": str(self.folder / "artifacts"),
        }

    def forget_old_logs(self) -> None:
        """Remove prediction logs but the one that is written: a benchmark leaves gigabytes."""
        written = (self.folder / "data/predictions/log").glob("*")
        for path in sorted(written, key=lambda path: path.stat().st_mtime)[:-1]:
            path.unlink()


@dataclass(frozen=True)
class Requests:
    """Requests in the three forms that are measured; each sequence is sent in turn.

    Attributes:
        features: One user, with features.
        by_id: One user, by id alone.
        batch: `BATCH_ROWS` users, with features.
    """

    features: Sequence[bytes]
    by_id: Sequence[bytes]
    batch: Sequence[bytes]


def requests(rows: Mapping[str, Mapping[str, Any]], *, batch_path: str, headers: Sequence[str] = ()) -> Requests:
    """Return the requests for rows by user id.

    Args:
        rows: Features by name; null where a user has no value.
        batch_path: Where batches go.
        headers: Further header lines.
    """
    encode = msgspec.json.encode
    instances = [{"user_id": user_id, "features": row} for user_id, row in rows.items()]
    endless = itertools.cycle(instances)
    batches = [{"instances": list(itertools.islice(endless, BATCH_ROWS))} for _ in range(BATCHES)]
    return Requests(
        [post("/predict", encode(instance), headers) for instance in instances],
        [post("/predict", encode({"user_id": user_id}), headers) for user_id in rows],
        [post(batch_path, encode(batch), headers) for batch in batches],
    )
