"""What comes up by chance: the same for the same words, in any process and on any day."""

from __future__ import annotations

from random import Random


def seeded(*words: object) -> Random:
    """A generator of random numbers that follows from these words alone."""
    return Random(" ".join(str(word) for word in words))  # noqa: S311 - nothing secret here
