"""Where downloads and compiled graphs stay."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir

VARIABLE = "RESNETFEA_CACHE"


def folder() -> Path:
    """$RESNETFEA_CACHE, or resnetfea's folder in the user's cache folder."""
    return Path(os.environ.get(VARIABLE) or user_cache_dir("resnetfea", appauthor=False))
