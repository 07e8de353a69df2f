# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""AtomicPusher: a version appears in the serving folder whole or not at all."""
