"""MindSpore 2.8 and 2.9 abort the process when they are imported behind onnx, or behind anything that uses protobuf.

Their generated protobuf code is too old for protobuf's compiled implementation, so MindSpore selects the pure Python
one by an environment variable, which is too late where protobuf is already there. (`python -c "import onnx, mindspore"`
with 2.8.0 or 2.9.0 and protobuf 7.36: "Descriptors cannot be created directly", then SIGABRT. 2.10.0 is mended.)
"""

from __future__ import annotations

import os
import sys

from resnetfea.cpu_guard import mindspore_version

VARIABLE = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
AFFECTED = ("2.8.", "2.9.")


def make_safe() -> None:
    """Select what these versions select, but in time. Called when resnetfea is imported; your own choice stays.

    Reading a 100 MB ONNX file takes 0.2 s either way: the weights are one block of bytes each.
    """
    if VARIABLE in os.environ or "google.protobuf" in sys.modules:
        return
    if (mindspore_version() or "").startswith(AFFECTED):
        os.environ[VARIABLE] = "python"
