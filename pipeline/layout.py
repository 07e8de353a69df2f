# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Where things lie below a root, and who may write there."""

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Iterator

from serving.errors import UserError


@dataclasses.dataclass(frozen=True)
class Layout:
    """The home of one pipeline's runs."""

    root: str
    """Folder of all pipelines."""
    pipeline: str
    """Name of the pipeline."""

    @property
    def home(self) -> str:
        """The pipeline's own folder."""
        return os.path.join(self.root, self.pipeline)

    @property
    def artifacts(self) -> str:
        """What the nodes made, a folder a node."""
        return os.path.join(self.home, "artifacts")

    @property
    def metadata(self) -> str:
        """ML Metadata's sqlite file."""
        return os.path.join(self.home, "metadata.db")

    @property
    def serving(self) -> str:
        """Pushed versions."""
        return os.path.join(self.home, "serving")

    @property
    def pushes(self) -> str:
        """What was pushed by nodes in containers, `components.pushes`."""
        return os.path.join(self.home, "pushes")

    @property
    def summary(self) -> str:
        """The last run's summary, JSON."""
        return os.path.join(self.home, "summary.json")

    @property
    def lock(self) -> str:
        """Held while a run goes on."""
        return os.path.join(self.home, "run.lock")


def of_version(path: str) -> Layout | None:
    """Returns the home of the run that pushed a version, None where there is none.

    Args:
      path: Folder of the version.
    """
    serving = os.path.dirname(os.path.abspath(path))
    layout = Layout(*os.path.split(os.path.dirname(serving)))
    is_of_run = serving == layout.serving and os.path.isfile(layout.metadata)
    return layout if is_of_run else None


@contextlib.contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Holds a pipeline's home while it runs.

    Raises:
      UserError: Another run holds it, or the folder can't be written.
    """
    try:
        os.makedirs(layout.home, exist_ok=True)
        file = open(layout.lock, "a")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise UserError(
            f"can't write to {layout.home}: {error.strerror}; choose another --root"
        ) from None
    with file:
        try:
            # The kernel lets go of it however the process ends.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another run is going on in {layout.home}; wait for it or choose "
                "another --root"
            ) from None
        yield
