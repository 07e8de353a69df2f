# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""RegistryPusher: a pushed version gets into the registry, with what is known of it."""
