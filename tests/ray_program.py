"""A training that Ray starts in two workers, one of which is killed once.

    python -m tests.ray_program FOLDER

Prints, as JSON, what Ray has been told: the last metrics, and the files of the last
checkpoint.
"""

import json
import os
import pathlib
import sys


def train(config):
    """Train in one worker, as the page on several devices has it."""
    import signal

    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    import keras
    import ray.train

    import keras_ext
    from tests.ray_program import fit

    class Killed(keras.callbacks.Callback):
        """Kills the second worker once, in the third epoch."""

        def on_train_batch_end(self, batch, logs=None):
            killed = pathlib.Path(config["folder"], "killed")
            second = ray.train.get_context().get_world_rank() == 1
            if second and self.epoch == 2 and batch == 3 and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    run = f"{config['folder']}/run"
    callbacks = [
        keras_ext.callbacks.Checkpoint(run, save_freq=2),
        keras_ext.callbacks.CSVLogger(f"{config['folder']}/log.csv"),
        keras_ext.callbacks.RayReport(run),
        Killed(),
    ]
    fit(strategy, callbacks=callbacks, resume=True)


def fit(strategy, **options):
    """Train; the same, with no options, as it would go in one process."""
    import keras
    import numpy as np

    import keras_ext

    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 6)).astype("float32")
    y = rng.integers(0, 3, size=128)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        trainer = keras_ext.Trainer(model, seed=1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile("adam", loss=loss, metrics=["accuracy"])
    return trainer.fit(x, y, batch_size=16, epochs=4, verbose=0, **options)


def main(folder):
    """Start Ray, and the workers in it."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    # An address of this machine alone. Ray would replace 127.0.0.1 by that by which
    # other machines see it.
    ray.init(num_cpus=2, _node_ip_address="127.0.0.2", include_dashboard=False)
    result = TensorflowTrainer(
        train,
        train_loop_config={"folder": folder},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            name="test",
            storage_path=f"{folder}/ray",
            failure_config=FailureConfig(max_failures=2),
        ),
    ).fit()
    with result.checkpoint.as_directory() as copy:
        files = sorted(os.listdir(copy))
    print(json.dumps({"metrics": result.metrics, "files": files}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
