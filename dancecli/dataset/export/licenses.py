"""Which clips may be passed on: what their license says, as the site names it."""

from __future__ import annotations

import re

# Every Creative Commons license allows copies, under its conditions; YouTube names one in words.
_OPEN = re.compile(r"(?:creative commons|cc[ -]?by|cc[ -]?0|cc zero|public domain)\b", re.IGNORECASE)


def may_be_shared(license_name: str) -> bool:
    """Tell whether a license lets others pass the video on; False where none is stated."""
    return bool(_OPEN.match(license_name.strip()))
