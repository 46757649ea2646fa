"""Numbers, and names of types, as people say them."""

from __future__ import annotations


def plural(count: float, one: str, many: str = "", *, shown: str = "") -> str:
    """`1 page`, `2 pages`; `shown` is how the number is written if not as it is."""
    return f"{shown or count} {one if count == 1 else many or one + 's'}"


def an(noun: str) -> str:
    """`an int`, `a list`; what begins with a u is mostly `a UUID`."""
    return f"{'an' if noun.lower().startswith(tuple('aeio')) else 'a'} {noun}"


def kind_of(value: object) -> str:
    """What it is: `an int`, `a list`."""
    return an(type(value).__name__)


def duration(seconds: float) -> str:
    """`9 s`, `3 min 20 s`, `2 h 5 min`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def size(count: float) -> str:
    """`640 B`, `1.2 MB`: powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
