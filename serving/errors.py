# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The one kind of error that is the user's to mend."""


class UserError(ValueError):
    """A mistake in a config, a file or a command, told in one sentence.

    The sentence names the file, key or value at fault and the mend. The command
    line prints it without a traceback.
    """
