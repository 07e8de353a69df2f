# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Sets the process up; imported before TensorFlow by every package of the project.

This is the only module that touches environment variables or global settings. It
imports nothing heavy, so that it can always come first.
"""

import contextlib
import ctypes
import gc
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from serving.errors import UserError

# TFRS and TFX are written for Keras 2; TensorFlow 2.16 and later ship Keras 3 and
# hand out tf-keras instead when this is set before the first TensorFlow import.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

# MLflow's own defaults try for two minutes what can't be reached, and print addresses
# and progress between what a command says.
for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}.items():
    os.environ.setdefault(_name, _value)

_NOISY_LOGGERS = ("absl", "apache_beam", "tensorflow", "tfx", "tf_keras")
# Of the release of absl that TensorFlow 2.20 and ScaNN 1.4 hold.
_SET_LOG_LEVEL = "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE"
_OUR_LOGGERS = ("components", "pipeline", "serving", "trainer")


def set_up(verbose: bool = False) -> None:
    """Silences the start-up noise of TensorFlow, absl and google packages.

    Call it before TensorFlow is imported: its C++ log level is read only once.

    Args:
      verbose: Leave every library as talkative as it is by default.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO)  # shows ours among all others
        return
    _show_our_logs()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Python 3.10's end of life is told by several google packages at import.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="google")
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def set_log_level(library: str) -> None:
    """Has a C++ library print as little by absl as `TF_CPP_MIN_LOG_LEVEL` says.

    TensorFlow 2.20 and ScaNN 1.4 each have an absl of their own, which does not read it
    and means the same by its numbers. A library with another absl, or none, is left
    alone, and at worst prints a few lines. What is no number changes nothing.

    Args:
      library: File of a library that is loaded.
    """
    least = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "")
    if least.isdecimal():
        with contextlib.suppress(AttributeError):
            getattr(ctypes.CDLL(library), _SET_LOG_LEVEL)(int(least))


class _StandardError(logging.StreamHandler):
    """Writes to what standard error is now, not to what it was when it was made."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one record."""
        self.stream = sys.stderr
        super().emit(record)


def _show_our_logs() -> None:
    """Prints what the project's own modules log, one plain line each."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("           %(message)s"))
    for name in _OUR_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]  # once, however often this is called
        logger.setLevel(logging.INFO)


@contextlib.contextmanager
def fast_imports() -> Iterator[None]:
    """Suspends garbage collection for imports, and then leaves out what they made.

    To look through TensorFlow's and TFX's million objects again and again takes a sixth
    of the time that they take to import, and made decoding a log four times as slow.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.freeze()


@contextlib.contextmanager
def quiet_imports(verbose: bool = False) -> Iterator[None]:
    """Keeps what packages print at import off standard error.

    tensorflow-model-analysis 0.47 reports its own missing `addons` there. If an
    import fails, what was printed is shown. See also `fast_imports`.

    Args:
      verbose: Let everything through.
    """
    with fast_imports(), contextlib.ExitStack() as on_failure:
        if verbose:
            yield
            return
        printed = io.StringIO()
        on_failure.callback(lambda: sys.stderr.write(printed.getvalue()))
        with contextlib.redirect_stderr(printed):
            yield
        on_failure.pop_all()
    if "tensorflow" in sys.modules:
        folder = os.path.dirname(sys.modules["tensorflow"].__file__ or "")
        set_log_level(os.path.join(folder, "libtensorflow_framework.so.2"))


def child_environment() -> dict[str, str]:
    """Returns the environment for a fresh Python process of this project.

    The packages may be installed or only stand in a checkout; either way the child
    must find the very code that its parent runs.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def ask_module(
    module: str, request: dict[str, Any], what: str, python: str = sys.executable
) -> dict[str, Any]:
    """Runs `python -m MODULE REQUEST.json RESULT.json` in a fresh process.

    Args:
      module: Reads the one file and writes the other.
      request: JSON-able.
      what: What it does, for the sentence that says it failed.
      python: The interpreter, of this environment or another one.

    Returns:
      The result.

    Raises:
      UserError: It ended with another code than 0; the last line that it printed on
        standard error is the reason.
    """
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        paths = [os.path.join(folder, name) for name in ("request.json", "result.json")]
        with open(paths[0], "w", encoding="utf-8") as file:
            json.dump(request, file)
        done = subprocess.run(
            [python, "-m", module, *paths],
            env=child_environment(),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise UserError(f"{what} failed (exit code {done.returncode}): {last}")
        with open(paths[1], encoding="utf-8") as file:
            return json.load(file)


def is_terminal() -> bool:
    """Tells whether progress may redraw a line: standard error is a terminal."""
    return sys.stderr.isatty()
