"""A session of onnxruntime on an untrusted file, and what the runtime says when something fails. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_session(model: bytes | Path, threads: int = 1) -> Any:
    """An onnxruntime.InferenceSession on the CPU that reads nothing but ``model``: weights in other files are refused.

    :param model: a file's content, or its path.
    :raises Exception: whatever onnxruntime's parser meets on damaged bytes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads sleep
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/dev/null")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def first_words(error: Exception) -> str:
    """Of what onnxruntime says, its error codes left out."""
    text = " ".join(str(error).split())
    return text.rpartition(" : ")[2][:120] or type(error).__name__
