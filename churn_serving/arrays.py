"""Named arrays in one `.npz` file whose bytes depend on nothing but the arrays."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from churn_serving.errors import ScorerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The date on every member: `numpy.savez` puts the clock there, and equal models get unequal digests."""


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return `arrays` as the bytes of an `.npz` file, uncompressed, in the order given.

    Raises:
        ValueError: An array holds Python objects, which could only be stored as pickles.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", EARLIEST)
            member.create_system = 3  # the same on every machine
            member.external_attr = 0o644 << 16
            content = io.BytesIO()
            npy.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(member, content.getvalue())
    return target.getvalue()


def unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays in the bytes of an `.npz` file. Nothing is unpickled.

    Raises:
        ScorerError: The bytes are not such a file.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ScorerError(f"the compiled scorer is no readable .npz file ({error}); restore or retrain it") from error
