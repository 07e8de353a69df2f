# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Where things lie below a root: the only place that knows."""

import dataclasses
import os


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
    def summary(self) -> str:
        """The last run's summary, JSON."""
        return os.path.join(self.home, "summary.json")

    @property
    def lock(self) -> str:
        """Held while a run goes on."""
        return os.path.join(self.home, "run.lock")
