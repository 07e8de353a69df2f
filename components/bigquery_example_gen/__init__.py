# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What TFX's own BigQueryExampleGen is asked, so that it reads what is declared."""
