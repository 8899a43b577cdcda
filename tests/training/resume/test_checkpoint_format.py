"""A checkpoint says its format, and what has written it."""

import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext.callbacks import Checkpoint
from keras_ext.training.resume.contents import FORMAT, GRAPH, STATE, Contents
from keras_ext.training.resume.store import CheckpointStore
from tests.training import earlier_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody has left."""
    return earlier_run.run(tmp_path_factory.mktemp("whole") / "run")


def rewrite(path, change):
    """Write a checkpoint again with another text."""
    reader = tf.train.load_checkpoint(str(path))
    names = [name for name in reader.get_variable_to_shape_map() if name != STATE]
    content = json.loads(reader.get_tensor(STATE).decode())
    change(content)
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=[STATE, *names],
        shape_and_slices=[""] * (len(names) + 1),
        tensors=[json.dumps(content), *map(reader.get_tensor, names)],
    )
    assert GRAPH in names


def test_what_was_saved_before_there_was_a_format_resumes(whole, tmp_path):
    shutil.copytree(earlier_run.SAVED, tmp_path / "run")
    (path,) = CheckpointStore(str(tmp_path / "run")).paths()
    content = json.loads(tf.train.load_checkpoint(path).get_tensor(STATE).decode())
    assert "format" not in content
    weights, losses = earlier_run.run(tmp_path / "run")
    # Within the last bits: it was saved on another machine.
    np.testing.assert_allclose(losses, whole[1], rtol=1e-5)
    for one, other in zip(weights, whole[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_checkpoints_say_their_format_and_the_writing_versions(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.write([tf.Variable(1.0)], {"loop": {"epoch": 1}})
    store.close()
    (path,) = store.paths()
    content = json.loads(tf.train.load_checkpoint(path).get_tensor(STATE).decode())
    assert content["format"] == FORMAT == 1
    assert content["versions"] == {
        "keras_ext": keras_ext.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


DRIVES = {
    "fit": lambda trainer, x, y, checkpoint: trainer.fit(
        x, y, callbacks=[checkpoint], resume=True
    ),
    "stock fit": lambda trainer, x, y, checkpoint: keras.Model.fit(
        trainer, x, y, callbacks=[checkpoint]
    ),
    "loop": lambda trainer, x, y, checkpoint: keras_ext.Loop(
        trainer, callbacks=[checkpoint], resume=True
    ),
    "next_epoch": lambda trainer, x, y, checkpoint: checkpoint.next_epoch,
}


@pytest.mark.parametrize(
    ("found", "versions", "message"),
    [
        (
            2,
            {"keras_ext": "9.1", "keras": "5.0", "tensorflow": "3.1"},
            (
                "has format 2, written by keras_ext '9.1', keras '5.0', tensorflow "
                "'3.1'. Expected: format 1. Read it with the version of keras_ext that "
                "wrote it, or a later one"
            ),
        ),
        (0, {"keras_ext": "0.0"}, "has format 0, written by keras_ext '0.0'."),
        ("1", None, "has format '1', written by an unknown version."),
        (True, ["9"], "has format True, written by an unknown version."),
        ([1] * 999, {"keras": [2] * 999}, "has format [1, 1, 1, 1, 1, 1, ...], writ"),
    ],
    ids=["later", "earlier", "text", "boolean", "long"],
)
@pytest.mark.parametrize("drive", DRIVES)
def test_another_format_is_an_error_and_changes_nothing(
    drive, found, versions, message, tmp_path
):
    def change(content):
        content.update(format=found, versions=versions, state="of another kind")

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    trainer = keras_ext.Trainer(model)
    trainer.compile("sgd", "mse")
    store = CheckpointStore(str(tmp_path))
    for _ in range(2):
        store.write([tf.Variable(1.0)], {"loop": {"epoch": 1}})
    store.close()
    rewrite(store.paths()[-1], change)
    before, x = trainer.get_weights(), np.ones((4, 2))
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        DRIVES[drive](trainer, x, x[:, :1], Checkpoint(tmp_path))
    assert store.paths()[-1] in str(raised.value)
    for one, other in zip(before, trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(store.paths()) == 2


def test_a_damaged_checkpoint_is_not_one_of_another_format(tmp_path):
    """It is skipped, with a warning; one of another format is not."""
    store = CheckpointStore(str(tmp_path))
    for _ in range(2):
        store.write([tf.Variable(1.0)], {})
    store.close()
    rewrite(store.paths()[-1], lambda content: content.update(variables="x"))
    with pytest.warns(UserWarning, match="not complete"):
        assert store.read().path == store.paths()[0]
    assert Contents(store.paths()[0]).raw("loop") is None
