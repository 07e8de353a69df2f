# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""s3:// paths, which TensorFlow knows by a library of tensorflow-io.

Beam has a file system of its own for them, on boto3.
"""

import contextlib
import ctypes
import functools

from serving import stacks
from serving.errors import UserError

SCHEME = "s3://"
RELEASE = "0.37.1"
"""The last tensorflow-io, made for TensorFlow 2.16."""
BEAM_PLUGIN = "--beam_plugin=serving.s3_worker"
"""Makes Beam's workers elsewhere call `register` before they work."""


def is_named(*texts: str) -> bool:
    """Tells whether some text has such a path in it."""
    return any(SCHEME in text for text in texts)


def register_where_named(*texts: str) -> None:
    """Makes TensorFlow know s3:// if some text has such a path in it.

    Raises:
      UserError: tensorflow-io is not installed, or was made for another TensorFlow.
    """
    if is_named(*texts):
        register()


@functools.cache
def register() -> None:
    """Makes TensorFlow know s3://, in this process.

    Raises:
      UserError: tensorflow-io is not installed, or was made for another TensorFlow.
    """
    import tensorflow as tf

    with contextlib.suppress(ImportError, tf.errors.OpError):
        import tensorflow_io  # noqa: F401  (registers what it has)
    if "s3" not in tf.io.gfile.get_registered_schemes():
        raise UserError(
            f"s3:// paths need tensorflow-io {RELEASE}, which is for TensorFlow 2.16 "
            f"(this is {tf.__version__}): with the stack {stacks.STABLE.name} install "
            f"it (pip install tensorflow-io=={RELEASE}), else mount the bucket as a "
            "folder"
        )
    _read_descriptions_once()
    _leave_before_libraries_do()


def _read_descriptions_once() -> None:
    """Has all of botocore's sessions share what they read of its descriptions of S3.

    Beam makes a session and a client for each look at a file, and most of the tenth of
    a second that this takes is reading them.
    """
    with contextlib.suppress(ImportError):
        from botocore import session
        from botocore.session import create_loader  # not there: nothing to share

        session.create_loader = functools.cache(create_loader)


def _leave_before_libraries_do() -> None:
    """Lets the process end, by its own exit code, before libraries clean up.

    Once s3:// was used they abort it (tensorflow/io#2039). What is called at exit is
    called last first, so that these come before them: C's files are flushed, then the
    process is over. Python has flushed its own by then.
    """
    libc = ctypes.CDLL(None)
    libc.on_exit(libc._exit, None)  # calls _exit(code)
    libc["__cxa_atexit"](libc.fflush, None, None)
