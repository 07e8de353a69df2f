# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ExampleGen on TensorFlow Datasets."""
