"""The digest of a file whose publisher states none: recorded when the file is first used, compared ever after.

The record is a small JSON file beside the file. Who deletes both starts anew; who deletes the file alone gets the same
file again, or an error.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path

from resnetfea.atomic import committed, partial_name
from resnetfea.errors import ResnetFeaError

log = logging.getLogger("resnetfea")


def record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.first-use.json")


def recorded(path: Path) -> str | None:
    """The sha256 that the file had when it was first used, or None before that.

    Raises:
        ResnetFeaError: there is a record, but it can't be read. To go on without it would be to trust anything.
    """
    record = record_of(path)
    try:
        sha256 = json.loads(record.read_bytes())["sha256"]
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResnetFeaError(f"{record}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ResnetFeaError(f"{record}: damaged; remove it together with {path}, and run again") from error
    return str(sha256)


def pin(path: Path, *, name: str, url: str, sha256: str, size: int) -> None:
    """Write the record. It appears whole or not at all; where it can't be written, that is said and the run goes on."""
    record = record_of(path)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"name": name, "url": url, "size": size, "sha256": sha256, "date": date}
    try:
        with committed(record, partial_name(record)) as partial:
            partial.write_text(json.dumps(facts, indent=2))
    except OSError as error:
        log.warning("%s: nobody states its sha256, and it cannot be recorded here: %s", path, error.strerror)
        return
    log.warning("%s: nobody states its sha256; from now on it must be %s, as it is today", path, sha256)
