"""Whether a version can score what there is today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from churn_assets.workspace import Workspace
    from churn_serving.manifest import Manifest


class UnsuitableModelError(RuntimeError):
    """The version asks for features that today's data do not have."""


def assert_suitable(workspace: Workspace, manifest: Manifest) -> None:
    """Make sure that today's features have all that a version was trained on.

    Raises:
        UnsuitableModelError: Some are missing or of another kind; the message names them.
        SourceError: Nothing has been built yet, and the source cannot be read.
    """
    is_text = _today(workspace)
    lacking = [spec.name for spec in manifest.features if spec.name not in is_text]
    other = [s.name for s in manifest.features if is_text.get(s.name, s.kind == "category") != (s.kind == "category")]
    if lacking or other:
        told = [f"today's features lack {', '.join(lacking)}"] if lacking else []
        told += [f"{', '.join(other)} changed from number to text or back"] if other else []
        raise UnsuitableModelError(
            f"{manifest.version} cannot score today's users as it was trained to: {'; '.join(told)}. Choose another of "
            "`churn models list`, or insist with `--force --reason WHY`: what is missing then counts as unknown"
        )


def _today(workspace: Workspace) -> dict[str, bool]:
    """Whether each feature is text, as the newest snapshot has it; before there is one, as the settings describe."""
    table = workspace.layout.user_features
    days = table.days()
    if not days:
        return {spec.name: spec.kind == "category" for spec in workspace.features.specs}
    return {field.name: _is_text(field.type) for field in pq.read_schema(table.path(days[-1]))}


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))
