# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A DistributionValidator for skew between splits and drift between spans."""
