"""keep_freed(): photos after the first take no fresh memory from the kernel."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from resnetfea.features.memory import keep_freed

assert keep_freed()
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(16 << 20, np.uint8) for _ in range(3)]  # as Pillow has 12 megapixels
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_memory_that_was_freed_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 12_288  # pages; ten times 48 MiB would be 122,880
