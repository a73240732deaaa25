"""Random numbers that can be drawn in any order: a hash of what they are for.

A draw is keyed by (seed, purpose, day) and counted by user, and within a user by whatever else counts (a stint, an
event's ordinal). It stays what it is whoever else is drawn for. The mixing is the finaliser of SplitMix64 (Steele,
Lea and Flood, "Fast splittable pseudorandom number generators", 2014), once per counter.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_LOGISTIC_SCALE = math.sqrt(3.0) / math.pi


def uniform(seed: int, purpose: str, *counters: Ints, day: int = 0) -> Floats:
    """Draw from the open interval (0, 1), one number for each position of the counters.

    Args:
        seed: The world's seed.
        purpose: What the draw is for; different purposes are independent.
        counters: Arrays of one shape: who, and which of theirs.
        day: Any whole number that is the same for all, as a rule the day.

    Returns:
        Numbers of the counters' shape.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{day}".encode(), digest_size=8).digest()
    state = np.full(counters[0].shape, int.from_bytes(digest, "little"), dtype=np.uint64)
    for counter in counters:
        state += (counter.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        _mix(state)
    state >>= np.uint64(11)
    return (state.astype(np.float64) + 0.5) * 2.0**-53


def bell(seed: int, purpose: str, *counters: Ints, day: int = 0) -> Floats:
    """Draw from the logistic distribution with mean 0 and standard deviation 1; arguments as in `uniform`."""
    u = uniform(seed, purpose, *counters, day=day)
    drawn: Floats = np.log(u / (1.0 - u))
    return drawn * _LOGISTIC_SCALE


def count(u: Floats, mean: Floats | float, *, at_most: int) -> Ints:
    """Turn uniform draws into geometric counts 0, 1, 2, ... with the given mean, cut at `at_most`."""
    floor = np.maximum(mean, 1e-9)
    drawn: Floats = np.log(u) / np.log(floor / (1.0 + floor))
    return np.minimum(drawn, at_most).astype(np.int64)


def choose(u: Floats, weights: tuple[float, ...]) -> Ints:
    """Turn uniform draws into positions 0 ... len(weights) - 1, as often as the weights say."""
    edges = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(edges[:-1], u, side="right").astype(np.int64)


def _mix(state: NDArray[np.uint64]) -> None:
    state ^= state >> np.uint64(30)
    state *= _FIRST
    state ^= state >> np.uint64(27)
    state *= _SECOND
    state ^= state >> np.uint64(31)
