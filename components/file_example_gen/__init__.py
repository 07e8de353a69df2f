# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ExampleGen on files: CSV, Parquet, JSON lines and TFRecords of tf.Examples."""
