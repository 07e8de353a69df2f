# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist serve`: TensorFlow Serving's API, and a humane one, over pushed versions.

A request comes in by REST or gRPC (`rest`, `grpc_api`), which turn it into a `Call`:
a signature's name and tensors. `models` knows which version it is for; the version's
`Batcher` gathers calls for its `Engine`, native or SavedModel, in threads of its own.
"""
