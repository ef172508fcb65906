"""Names for the plain values that must not be mixed up."""

from __future__ import annotations

from typing import NewType

OpId = NewType("OpId", int)
BucketId = NewType("BucketId", int)
ETag = NewType("ETag", str)

Key = tuple[str, ...]
"""A row's key in the source's textual form, one part a key attribute, in the order of `Entity.key`."""
