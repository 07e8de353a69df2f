# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What earlier runs pushed, for nodes that run in containers."""
