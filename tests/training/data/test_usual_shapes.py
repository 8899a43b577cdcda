"""Which batches come together, also if an odd one comes first or a run is continued."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.data import batch_stacking
from keras_ext.training.data.chunks import EqualBatches
from keras_ext.training.data.make import SteppedSource, make_source

SHAPES = {
    "odd one last": [(4, 2)] * 5 + [(2, 2)],
    "odd one first": [(2, 2)] + [(4, 2)] * 5,
    "odd one second": [(4, 2), (2, 2)] + [(4, 2)] * 4,
    "odd one in between": [(4, 2)] * 3 + [(2, 2)] + [(4, 2)] * 2,
    "larger one later": [(4, 2)] * 3 + [(6, 2)] + [(4, 2)] * 2,
    "growing": [(n, 2) for n in range(1, 7)],
    "other widths": [(4, n) for n in (2, 2, 3, 2, 2, 3)],
}


@pytest.fixture(scope="module", autouse=True)
def _patient():
    """Have stacks depend on no clock; what stacks them is compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_stacking, "PATIENCE", 60.0)
        yield


class Listed(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, number):
        return self._batches[number]


def batches_of(shapes):
    return [np.full(shape, number, "float32") for number, shape in enumerate(shapes)]


def saveable(batches):
    """A dataset of these, whose iterators can be saved."""
    rows = map(tf.data.Dataset.from_tensor_slices, batches)
    parts = [r.batch(len(b)) for r, b in zip(rows, batches, strict=True)]
    return functools.reduce(lambda a, b: a.concatenate(b), parts)


def generated(batches):
    """A dataset of these, whose iterators cannot be saved."""
    spec = tf.TensorSpec((None, 2), tf.float32)
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)


DATA = {
    "dataset": saveable,
    "dataset of a generator": generated,
    "list": list,
    "PyDataset": Listed,
}
ROWS = [
    (data, shapes)
    for data in DATA
    for shapes in SHAPES
    if not (data.startswith("dataset") and shapes == "other widths")
]


def kinds(chunks):
    """Return, for each batch, its number, its shape and how it is compiled."""
    return [
        (int(batch[0, 0]), tuple(batch.shape), isinstance(chunk, EqualBatches))
        for chunk in chunks
        for batch in chunk.batches()
    ]


@pytest.fixture(scope="module", params=ROWS, ids=" of ".join)
def row(request):
    data, shapes = request.param
    return data, shapes, DATA[data](batches_of(SHAPES[shapes]))


@pytest.mark.parametrize("name", ["odd one last", "odd one first", "odd one second"])
@pytest.mark.parametrize("data", DATA)
def test_equal_batches_come_together(data, name):
    source = make_source(DATA[data](batches_of(SHAPES[name])), shuffle=False)
    found = kinds(source.chunks(0, lambda: 3))
    assert [(number, shape) for number, shape, _ in found] == [*enumerate(SHAPES[name])]
    assert sum(together for _, _, together in found) >= 5
    assert all(together for _, shape, together in found if shape == (4, 2))


def continued(source, other, folder, *, iterators):
    """Have `other` continue from where `source` is."""
    state, found = source.state(iterators=iterators)
    checkpoints = [tf.train.Checkpoint(iterator=one) for one in found]
    paths = [c.write(str(folder / str(n))) for n, c in enumerate(checkpoints)]

    def restore(path, iterator):
        tf.train.Checkpoint(iterator=iterator).read(path).assert_consumed()

    restores = [functools.partial(restore, path) for path in paths]
    other.set_state(state, restores if iterators else None)


@pytest.mark.filterwarnings("ignore:The position in the data was not saved")
@pytest.mark.parametrize("steps", [None, 6], ids=["", "steps"])
def test_a_continued_epoch_takes_the_same_for_odd(row, steps, tmp_path):
    name, _, data = row

    def make():
        source = make_source(data, shuffle=False)
        return source if steps is None else SteppedSource(source, steps)

    expected = kinds(make().chunks(0, lambda: 1))
    for done in (1, 2, 5):
        source, other = make(), make()
        chunks = source.chunks(0, lambda: 1)
        assert kinds(next(chunks) for _ in range(done)) == expected[:done]
        folder = tmp_path / str(done)
        continued(source, other, folder, iterators=name == "dataset")
        assert kinds(other.chunks(0, lambda: 1, done)) == expected[done:]
        # The next epoch knows nothing of this one.
        assert kinds(other.chunks(1, lambda: 1)) == expected
        chunks.close()
