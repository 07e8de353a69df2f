# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The errors that are the user's to mend."""


class UserError(ValueError):
    """A mistake in a config, a file or a command, told in one sentence.

    The sentence names the file, key or value at fault and the mend. The command
    line prints it without a traceback.
    """


class WrongUseError(UserError):
    """A mistake in what a command was given; it ends with 2, as for a wrong option."""
