"""A person in the tables that the service finds users in: published again without them, and what was before removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.features.publish import publish_newest
from churn_serving.online import pointer
from churn_serving.online.keyed_format import (
    PREFIX,
    OnlineStoreError,
    decode_header,
    header_length,
)
from churn_serving.online.keyed_table import KeyedTable
from churn_serving.online.keyed_writer import Draft, Ids
from churn_serving.online.pointer import SUFFIX, NothingPublishedError, Pointer
from churn_serving.online.publisher import Publisher
from churn_serving.online.scores import KEPT_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from churn_assets.layout import Layout
    from churn_assets.upkeep.forget_places import Found, Place


@dataclass
class PublishedTables:
    """The published tables of one folder.

    Attributes:
        kind: What they are.
        publisher: Of the folder.
        user_id: Who.
        prepare: Is done before anything is published here.
    """

    kind: str
    publisher: Publisher
    user_id: str
    prepare: Callable[[], object] = lambda: None

    def find(self) -> Found:
        """Look for the person, in tables that are no longer published as well."""
        return {path: 1 for path in self._files() if self._holds(path)}

    def erase(self, files: Sequence[Path]) -> None:
        """Publish anew what is published, without the person. A service takes that up within seconds.

        Raises:
            OnlineStoreError: Another publisher holds the lock for too long.
        """
        if files:
            self.prepare()
        with self.publisher.locked():
            for entry in self._read().published:
                path = self.publisher.folder / entry.file
                if path.is_file() and self._holds(path):
                    self.publisher.publish(without(path, self.user_id))

    def finish(self) -> None:
        """Remove the tables that hold the person and are published no more.

        Raises:
            OnlineStoreError: Another publisher holds the lock for too long.
        """
        if not self.publisher.folder.is_dir():
            return
        with self.publisher.locked():
            now = self._read()
            published = {entry.file for entry in now.published}
            gone = [path for path in self._files() if path.name not in published and self._holds(path)]
            names = {path.name for path in gone}
            if names:
                rest = tuple(one for one in now.retired if one.file not in names)
                pointer.write(self.publisher.folder, Pointer(published=now.published, retired=rest))
            for path in gone:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.publisher.folder.glob(f"*{SUFFIX}"))

    def _holds(self, path: Path) -> bool:
        try:
            return KeyedTable.open(path).find(self.user_id) >= 0
        except OnlineStoreError:  # damaged: nobody can be found in it, but it may have been somebody's
            return self.user_id.encode() in path.read_bytes()

    def _read(self) -> Pointer:
        try:
            return pointer.decode(pointer.read_bytes(self.publisher.folder), self.publisher.folder)
        except NothingPublishedError:
            return Pointer()


def published_places(layout: Layout, user_id: str) -> list[Place]:
    """Everybody's newest features, and the scores of the last days."""
    features, scores = layout.online_features, layout.online_scores
    return [
        PublishedTables(
            "published_features",
            Publisher(features, "features", keep=1),
            user_id,
            prepare=lambda: publish_newest(layout),
        ),
        PublishedTables("published_scores", Publisher(scores, "scores", KEPT_DAYS), user_id),
    ]


def without(path: Path, user_id: str) -> Draft:
    """The table in a file, but for one user.

    Raises:
        OnlineStoreError: It is damaged.
    """
    row = KeyedTable.open(path).find(user_id)
    content = path.read_bytes()
    begin = header_length(content[: PREFIX.size])
    header, places = decode_header(content[PREFIX.size : PREFIX.size + begin], len(content))
    offsets = np.frombuffer(content, np.uint32, header.rows + 1, places.offsets).astype(np.int64)
    ids = memoryview(content)[places.ids : places.ids + header.id_bytes]
    kept = np.arange(header.rows) != row
    lengths = np.diff(offsets)[kept]
    rest = b"".join((ids[: offsets[row]], ids[offsets[row + 1] :])) if row >= 0 else bytes(ids)
    matrix = np.frombuffer(content, np.float64, header.rows * len(header.columns), places.matrix)
    return Draft(
        as_of_date=header.as_of_date,
        ids=Ids(np.concatenate([[0], np.cumsum(lengths)]), memoryview(rest)),
        columns=header.columns,
        blocks=[matrix.reshape(header.rows, len(header.columns))[kept]],
        levels=header.levels,
        metadata=header.metadata,
    )
