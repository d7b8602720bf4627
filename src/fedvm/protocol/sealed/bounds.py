"""The bounds of a sealed federation's rules. A module of its own, so that the settings load nothing heavy for them."""

from __future__ import annotations

LEAST_GROUP, LARGEST_GROUP = 8, 128
LARGEST_ROSTER = 65_535
LARGEST_LANE = 6
"""Bytes: 255 lanes of 48 bits add up to less than 2^56, so a group's plain sum fits int64."""
LEAST_COMPARED = 3
"""Groups that must count where a robust rule compares their means."""
LEAST_SECONDS, MOST_SECONDS = 60, 30 * 86_400
