# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Training on several devices or machines with the loss of one device.

The loss of a batch is the sum over its interactions of a softmax whose negatives are
the batch's other candidates, so it depends on what is in a batch together. Here the
batch is the global one, whatever number of replicas share its rows: a replica embeds
its own rows, gathers the candidates of all replicas (`own_first`), and so sums the
very terms that one device would sum for these rows. TensorFlow adds up the replicas'
gradients, and the gradient of the gathering brings to each candidate what it got as a
negative elsewhere: the sum over replicas is the gradient on one device. Both agree to
the rounding of sums in another order.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from serving.errors import UserError


@dataclasses.dataclass(frozen=True)
class Share:
    """What one input pipeline reads of each batch: the parts of its replicas."""

    parts: int = 1
    """Into which a batch is cut: one for each replica of all workers."""
    first: int = 0
    """The first of ours."""
    count: int = 1
    """How many are ours."""


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns tf.distribute's strategy of `training.distribution`.

    TensorFlow starts a server in each worker, which must come before anything else
    that it does.

    Args:
      name: none, mirrored or multi_worker.

    Raises:
      UserError: multi_worker, and TF_CONFIG, which TensorFlow reads, names no workers,
        or TensorFlow has begun with something else.
    """
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        if not resolver.cluster_spec().as_dict():
            raise UserError(
                "training.distribution: multi_worker needs TF_CONFIG to name the "
                "workers and which of them this is; set it where the Trainer runs, or "
                "choose mirrored or none"
            )
        try:
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
        except RuntimeError as error:  # its own is about collective ops
            raise UserError(
                "training.distribution: multi_worker needs a process of its own for "
                "Trainer, as on Kubeflow or Vertex, and TensorFlow is at work in this "
                "one already; choose mirrored or none here"
            ) from error
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Tells whether this process is the one whose files are kept."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    # A chief comes first among the workers, where there is one.
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    first = "chief" if has_chief else "worker"
    return resolver.task_type == first and resolver.task_id == 0


def distributed(
    make: Callable[[Share], tf.data.Dataset], strategy: tf.distribute.Strategy
) -> tf.data.Dataset:
    """Makes the dataset of this process.

    Args:
      make: Makes the dataset of a share of each batch, whose elements are the parts.
      strategy: Of this process; the default one takes each batch whole.
    """
    if not tf.distribute.has_strategy():
        return make(Share())
    parts = strategy.num_replicas_in_sync

    def of_pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = parts // context.num_input_pipelines
        return make(Share(parts, context.input_pipeline_id * count, count))

    return strategy.distribute_datasets_from_function(of_pipeline)


def own_first(values: tf.Tensor) -> tf.Tensor:
    """Gathers what all replicas hold, this replica's rows first.

    So the positive of row i stays candidate i. The gradient flows back to each replica.

    Args:
      values: [rows, …], of as many rows as this replica has.

    Returns:
      [rows of all replicas, …]; on one device just `values`.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return values
    rows = replica.all_gather(_placed(tf.shape(values)[:1], replica), axis=0)
    before = tf.reduce_sum(rows[: replica.replica_id_in_sync_group])

    @tf.custom_gradient
    def gather(own: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(change: tf.Tensor) -> tf.Tensor:
            placed = _placed(change, replica)
            total = replica.all_reduce(tf.distribute.ReduceOp.SUM, placed)
            return total[before : before + tf.shape(own)[0]]

        return replica.all_gather(_placed(own, replica), axis=0), gradient

    return tf.roll(gather(values), -before, axis=0)


def _placed(values: tf.Tensor, replica: tf.distribute.ReplicaContext) -> tf.Tensor:
    """Places values on the replica's device: TensorFlow gathers to where they are.

    It places all that several devices of a worker do, but leaves open where a single
    one does it, and then neither its gathering nor the gradient of that knows where to.
    """
    devices = replica.strategy.extended.worker_devices
    if len(devices) > 1:
        return values
    with tf.device(devices[0]):
        return tf.identity(values)
