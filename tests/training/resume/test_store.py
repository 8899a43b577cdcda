"""Checkpoints as files: whole or not at all, whatever happens to disk and process."""

import contextlib
import errno
import functools
import os
import pathlib
import re
import shutil
import sys
import textwrap
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.resume.store import CheckpointStore
from tests.programs import printed
from tests.training.folders import contents

pytestmark = pytest.mark.once

DATA = ".data-00000-of-00001"
END = "-00000-of-00001"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def values_of(number):
    return [
        np.arange(4, dtype="float32") + number,
        np.array(-number),
        np.full((2, 3), number % 2, bool),
    ]


def state_of(number):
    return {"number": number, "array": np.full(3, number), "nested": (number, [None])}


def write(folder, *numbers, max_to_keep=None):
    """Write a checkpoint for every number."""
    put(CheckpointStore(str(folder), max_to_keep), *numbers)


def put(files, *numbers):
    """Write them by an object that may have written some before."""
    for number in numbers:
        variables = [tf.Variable(value) for value in values_of(number)]
        files.write(variables, state_of(number))
    files.close()


def check(saved, number):
    """Assert that it is the checkpoint that was written for `number`."""
    assert saved.state["number"] == number
    assert saved.state["array"].tolist() == [number] * 3
    assert saved.state["nested"] == (number, [None])
    expected = values_of(number)
    assert len(saved.variables) == len(expected)
    for value, other in zip(saved.variables, expected, strict=True):
        assert value.dtype == other.dtype
        assert value.tolist() == other.tolist()


def read(folder):
    return CheckpointStore(str(folder)).read()


def names(folder):
    return sorted(contents(folder))


def checkpoint_names(*numbers):
    return sorted(f"ckpt-{n}{end}" for n in numbers for end in (DATA, ".index"))


def read_unchanged(folder):
    """Read, and assert that nothing was changed by it."""
    before = contents(folder)
    try:
        return read(folder)
    finally:
        assert contents(folder) == before


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


# What is written is read.


DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bfloat16",
    "float16",
    "float32",
    "float64",
    "complex64",
]


def test_every_dtype(folder):
    numbers = tf.constant([[0.0, 1.0, 3.0], [100.0, 2.0, 0.0]])
    variables = [tf.Variable(tf.cast(numbers, dtype)) for dtype in DTYPES]
    files = CheckpointStore(str(folder))
    files.write(variables, {"dtypes": DTYPES})
    files.close()
    saved = read(folder)
    assert saved.state == {"dtypes": DTYPES}
    assert len(saved.variables) == len(DTYPES)
    for dtype, value in zip(DTYPES, saved.variables, strict=True):
        assert value.dtype == tf.as_dtype(dtype).as_numpy_dtype
        assert value.tobytes() == tf.cast(numbers, dtype).numpy().tobytes()


def test_every_bit(folder):
    special = [np.nan, np.inf, -np.inf, -0.0, 1e-45, 1 / 3]
    arrays = [np.array(special, dtype) for dtype in ("float32", "float64")]
    brain = tf.constant(special, tf.bfloat16)
    files = CheckpointStore(str(folder))
    files.write([*map(tf.Variable, arrays), tf.Variable(brain)], {"x": arrays})
    files.close()
    saved = read(folder)
    for value, array in zip(saved.variables, [*arrays, brain.numpy()], strict=True):
        assert value.tobytes() == array.tobytes()
    for value, array in zip(saved.state["x"], arrays, strict=True):
        assert value.tobytes() == array.tobytes()


def test_variables_of_keras(folder):
    variables = [
        keras.Variable([1.5, 2.5], dtype="bfloat16"),
        keras.Variable(3, dtype="int64"),
        keras.Variable(np.zeros((0, 2)), dtype="float32"),
        keras.random.SeedGenerator(5).state,
    ]
    expected = [keras.ops.convert_to_numpy(one) for one in variables]
    files = CheckpointStore(str(folder))
    files.write(variables, None)
    files.close()
    saved = read(folder)
    assert saved.state is None
    for value, other in zip(saved.variables, expected, strict=True):
        assert (value.dtype, value.shape) == (other.dtype, other.shape)
        assert value.tobytes() == other.tobytes()


@pytest.mark.parametrize("count", [0, 11, 101])
def test_any_number_of_variables_in_their_order(folder, count):
    files = CheckpointStore(str(folder))
    files.write([tf.Variable(i) for i in range(count)], {"arrays": [np.array(-1)] * 3})
    files.close()
    saved = read(folder)
    assert [int(value) for value in saved.variables] == list(range(count))
    assert [int(value) for value in saved.state["arrays"]] == [-1, -1, -1]


def test_other_types_every_time(folder):
    files = CheckpointStore(str(folder))
    for dtype in ("float32", "int8", "float64", "float64", "bool"):
        files.write([tf.Variable(tf.ones(3, dtype))], dtype)
        files.wait()
        assert read(folder).state == read(folder).variables[0].dtype.name == dtype
    files.close()


def test_other_variables_every_time(folder):
    """Shapes, types and their number may change from one to the next."""
    files = CheckpointStore(str(folder))
    for number, shape in enumerate([(3,), (2, 2), (), (4, 0)]):
        variables = [tf.Variable(tf.fill(shape, number))] * (number + 1)
        files.write(variables, {"number": number, "extra": [np.float32(1)] * number})
        files.wait()
        saved = read(folder)
        assert saved.state["number"] == number
        assert [value.shape for value in saved.variables] == [shape] * (number + 1)
        assert all((value == number).all() for value in saved.variables)
    files.close()


def test_all_are_files_of_a_tensorflow_checkpoint(folder):
    """The first, which it writes, and the others, of other types and shapes too."""
    files = CheckpointStore(str(folder))
    values = [[1.0, 2.0], [3.0, 4.0], [[5, 6]], [True]]
    for value in values:
        files.write([tf.Variable(value), tf.Variable(0)], None)
    files.close()
    keys = []
    for path, value in zip(files.paths(), values, strict=True):
        variables = [tf.Variable(tf.zeros_like(value)), tf.Variable(-1)]
        checkpoint = tf.train.Checkpoint(variables=variables)
        checkpoint.read(path).assert_existing_objects_matched()
        assert variables[0].numpy().tolist() == value
        assert int(variables[1]) == 0
        keys.append(sorted(name for name, _ in tf.train.list_variables(path)))
    assert keys == keys[:1] * len(values)


def test_nothing_there(folder, tmp_path):
    assert read(folder) is None
    assert CheckpointStore(str(folder)).paths() == []
    assert not folder.exists()
    assert read_unchanged(tmp_path) is None


def test_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("run", 1, 2)
    check(read("run"), 2)
    check(read(tmp_path / "run"), 2)


def test_a_folder_that_was_moved(folder, tmp_path):
    write(folder, 1, 2, max_to_keep=2)
    shutil.move(folder, tmp_path / "moved")
    check(read(tmp_path / "moved"), 2)
    write(tmp_path / "moved", 3, max_to_keep=2)
    assert names(tmp_path / "moved") == checkpoint_names(2, 3)
    assert not folder.exists()


# How many there are, and what they are called.


@pytest.mark.parametrize(
    ("max_to_keep", "kept"), [(None, [1, 2, 3, 4, 5]), (1, [5]), (3, [3, 4, 5])]
)
def test_max_to_keep(folder, max_to_keep, kept):
    write(folder, 1, 2, 3, 4, 5, max_to_keep=max_to_keep)
    assert names(folder) == checkpoint_names(*kept)
    paths = CheckpointStore(str(folder)).paths()
    assert paths == [str(folder / f"ckpt-{number}") for number in kept]
    check(read(folder), 5)


def test_max_to_keep_counts_those_of_earlier_processes(folder):
    for number in range(1, 6):
        write(folder, number, max_to_keep=2)
        assert names(folder) == checkpoint_names(
            *[n for n in (number - 1, number) if n]
        )
        check(read(folder), number)


def test_one_that_is_still_to_be_read_is_kept(folder):
    files = CheckpointStore(str(folder), 1)
    put(files, 1)
    (files.needed,) = files.paths()
    put(files, 2, 3)
    assert names(folder) == checkpoint_names(1, 3)
    files.needed = None
    put(files, 4)
    assert names(folder) == checkpoint_names(4)


def test_max_to_keep_of_another_process(folder):
    """Those that are too many now go with the next one that is written."""
    write(folder, 1, 2, 3, 4)
    write(folder, 5, max_to_keep=2)
    assert names(folder) == checkpoint_names(4, 5)
    write(folder, 6)
    assert names(folder) == checkpoint_names(4, 5, 6)
    write(folder, 7, max_to_keep=5)
    assert names(folder) == checkpoint_names(4, 5, 6, 7)
    check(read(folder), 7)


def test_what_is_kept_is_whole(folder):
    """One that can't be read is left alone, and in the end takes nobody's place."""
    write(folder, 1, 2, max_to_keep=2)
    (folder / "ckpt-2.index").write_bytes(b"broken")
    write(folder, 3, 4, max_to_keep=2)
    assert names(folder) == checkpoint_names(2, 3, 4)
    check(read(folder), 4)
    (folder / "ckpt-4.index").unlink()
    check(read(folder), 3)


def test_ten_comes_after_nine(folder):
    write(folder, *range(1, 12), max_to_keep=3)
    assert names(folder) == checkpoint_names(9, 10, 11)
    check(read(folder), 11)


def test_a_folder_that_is_a_pattern(tmp_path):
    """TensorFlow would take it for one, which the names of others may fit."""
    for name in ("run*", "run?", "run[1", "run]", "run\\", f"{tmp_path}/*/run"):
        message = rf"must not contain any of .*Received: {re.escape(repr(name))}"
        with pytest.raises(ValueError, match=message):
            CheckpointStore(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "r u n",
        pytest.param(
            "rün",
            marks=pytest.mark.skipif(
                sys.getfilesystemencoding() != "utf-8",
                reason="TensorFlow names files in UTF-8, and this locale (LC_ALL) has "
                "another encoding",
            ),
        ),
        "run{1,2}",
        "$run%d",
        "a/b/../c",
    ],
)
def test_folders_of_any_other_name(name, tmp_path):
    write(tmp_path / "run1", 1, 2)
    before = contents(tmp_path / "run1")
    write(tmp_path / name, 4, 5, 6, max_to_keep=1)
    check(read(tmp_path / name), 6)
    assert names(tmp_path / name) == checkpoint_names(3)
    assert contents(tmp_path / "run1") == before


@pytest.mark.parametrize("there", ["ckpt-7.index", "ckpt-7", "ckpt-7.index.copy"])
def test_no_number_is_used_twice(folder, there):
    write(folder, 1, 2)
    (folder / there).write_bytes(b"somebody's")
    (folder / "ckpt-6.index").write_bytes(b"broken")
    before = contents(folder)
    write(folder, 3)
    assert names(folder) == sorted([*before, *checkpoint_names(8)])
    assert before.items() <= contents(folder).items()
    check(read(folder), 3)


def test_what_is_there_is_never_written_over(folder):
    written = {}
    for number in range(1, 5):
        write(folder, number)
        now = contents(folder)
        assert written.items() <= now.items()
        assert len(now) == len(written) + 2
        written = now


# The values are those at the time of `write`.


SIZE = 1_000_000


def assigned(variable, optimizer):
    variable.assign(variable - 1.0)
    optimizer.iterations.assign_add(1)


def assigned_in_place(variable, optimizer):
    variable.assign_sub(tf.ones(SIZE))
    optimizer.iterations.assign_add(1)


def scattered(variable, optimizer):
    half = SIZE // 2
    for rows in (tf.range(half), tf.range(half, SIZE)):
        variable.scatter_sub(tf.IndexedSlices(tf.ones(half), rows))
    optimizer.iterations.assign_add(1)


def step(variable, optimizer):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(variable.value)
    optimizer.apply([tape.gradient(loss, variable.value)], [variable])


UPDATES = {
    "assign": assigned,
    "assign in place": assigned_in_place,
    "scatter": scattered,
    "scatter in a graph": scattered,
    "optimizer": step,
    "optimizer in a graph": step,
    "optimizer in XLA": step,
}


def make_update(kind):
    """Return variables, and a function that takes 1 off the large one."""
    if kind.startswith("optimizer"):
        variable = keras.Variable(tf.zeros(SIZE), dtype="float32")
    else:
        variable = tf.Variable(tf.zeros(SIZE))
    optimizer = keras.optimizers.SGD(1.0)
    if kind.startswith("optimizer"):
        optimizer.build([variable])

    def update():
        UPDATES[kind](variable, optimizer)

    if "in a graph" in kind or "in XLA" in kind:
        update = tf.function(update, jit_compile="in XLA" in kind)
    return [variable, optimizer.iterations], update


@pytest.mark.parametrize("kind", UPDATES)
def test_values_are_those_at_the_time(folder, kind):
    """Steps follow at once, while it is written."""
    variables, update = make_update(kind)
    files = CheckpointStore(str(folder), max_to_keep=2)
    made = 0
    for _ in range(8):
        files.write(variables, {"made": made})
        at_that_time = made
        for _ in range(4):
            update()
            made += 1
        files.wait()
        saved = CheckpointStore(str(folder)).read()
        assert saved.state == {"made": at_that_time}
        large, iterations = saved.variables
        assert iterations == at_that_time
        assert (large == -at_that_time).all()
    files.close()
    assert (tf.convert_to_tensor(variables[0]).numpy() == -made).all()


@pytest.mark.parametrize("kind", ["assign", "assign in place", "optimizer in XLA"])
def test_steps_go_on_while_it_is_written(folder, kind, monkeypatch):
    """However slow the disk is; and the next `write` waits for the last."""
    go_on, written = threading.Event(), []
    write_files = CheckpointStore._write_files

    def slow_write(files, path, *args):
        assert go_on.wait(60)
        written.append(pathlib.Path(path).name)
        return write_files(files, path, *args)

    monkeypatch.setattr(CheckpointStore, "_write_files", slow_write)
    variables, update = make_update(kind)
    files = CheckpointStore(str(folder))
    update()
    files.write(variables, "first")
    for _ in range(5):
        update()
    assert written == []
    assert read(folder) is None
    go_on.set()
    files.write(variables, "second")
    assert len(written) >= 1
    files.close()
    assert written == ["ckpt-1", "ckpt-2"]
    saved = read(folder)
    assert saved.state == "second"
    assert (saved.variables[0] == -6).all()
    (folder / "ckpt-2.index").unlink()
    saved = read(folder)
    assert saved.state == "first"
    assert (saved.variables[0] == -1).all()
    assert saved.variables[1] == 1


def test_arrays_in_the_state_are_those_at_the_time(folder):
    array, items = np.zeros(SIZE), [1, 2]
    files = CheckpointStore(str(folder))
    for number in range(5):
        files.write([], {"array": array, "items": items})
        array += 1
        items.append(0)
        files.wait()
        saved = read(folder)
        assert (saved.state["array"] == number).all()
        assert saved.state["items"] == [1, 2, *[0] * number]
    files.close()


# What is damaged is left alone, and the newest that is whole is used.


def warns_of(problem, used):
    """Expect a warning that names the bad checkpoint, and the one that is used."""
    expected = rf"left alone: {problem}.*The one before it is used, {used}\."
    return pytest.warns(UserWarning, match=expected)


def test_any_byte_of_a_checkpoint(folder):
    """One that is changed is found, or makes no difference; nothing else happens."""
    write(folder, 1, 2)
    used = {1: 0, 2: 0}
    for end in (".index", DATA):
        path = folder / f"ckpt-2{end}"
        whole = path.read_bytes()
        for at in range(len(whole)):
            flip(path, at)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                saved = read(folder)
            number = saved.state["number"]
            check(saved, number)
            used[number] += 1
            messages = [str(one.message) for one in caught]
            messages = [one for one in messages if "left alone: ckpt-2: " in one]
            assert len(messages) == (number == 1), (end, at, messages)
            path.write_bytes(whole)
    assert used[1] > used[2] / 4
    check(read(folder), 2)


@pytest.mark.parametrize(
    "content",
    [
        np.arange(4, dtype="float32") + 2,
        np.array(-2),
        np.full(3, 2),
        b'"number": 2',
        b'"variables": 3',
    ],
    ids=["variable", "scalar", "array", "state", "number of variables"],
)
def test_a_byte_of_what_is_saved(folder, content):
    write(folder, 1, 2)
    path = folder / f"ckpt-2{DATA}"
    content = content if isinstance(content, bytes) else content.tobytes()
    at = path.read_bytes().rindex(content)
    for offset in (0, len(content) // 2, len(content) - 1):
        flip(path, at + offset)
        with warns_of("ckpt-2: ", used="ckpt-1"):
            check(read_unchanged(folder), 1)
        flip(path, at + offset)
    check(read_unchanged(folder), 2)


@pytest.mark.parametrize("end", [".index", DATA])
def test_a_truncated_file(folder, end):
    write(folder, 1, 2)
    path = folder / f"ckpt-2{end}"
    whole = path.read_bytes()
    lengths = [int(part * len(whole)) for part in (0, 0.01, 0.25, 0.5, 0.9)]
    for length in (*lengths, 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        with warns_of("ckpt-2: ", used="ckpt-1"):
            check(read_unchanged(folder), 1)


@pytest.mark.parametrize("there", ["missing", "without its beginning", "another's"])
def test_other_data(folder, there):
    write(folder, 1, 2)
    path = folder / f"ckpt-2{DATA}"
    whole = path.read_bytes()
    path.unlink()
    if there == "without its beginning":
        path.write_bytes(whole[1:])
    if there == "another's":
        shutil.copy(folder / f"ckpt-1{DATA}", path)
    with warns_of("ckpt-2: ", used="ckpt-1"):
        check(read_unchanged(folder), 1)


def test_an_index_that_is_missing(folder):
    write(folder, 1, 2)
    (folder / "ckpt-2.index").unlink()
    check(read_unchanged(folder), 1)


def test_several_that_are_damaged(folder):
    write(folder, 1, 2, 3, 4)
    (folder / f"ckpt-4{DATA}").unlink()
    (folder / "ckpt-3.index").write_bytes(b"")
    with pytest.warns(UserWarning, match="is used") as caught:
        check(read_unchanged(folder), 2)
    messages = [str(one.message) for one in caught if "is used" in str(one.message)]
    assert len(messages) == 2
    assert [re.findall(r"ckpt-\d", one)[0] for one in messages] == ["ckpt-4", "ckpt-3"]
    assert all(repr(str(folder)) in one for one in messages)
    assert all(one.endswith("used, ckpt-2.") for one in messages)


def test_an_older_one_may_be_damaged(folder):
    write(folder, 1, 2)
    (folder / "ckpt-1.index").write_bytes(b"")
    check(read_unchanged(folder), 2)


def test_none_is_whole(folder):
    write(folder, 1, 2, 3)
    (folder / f"ckpt-3{DATA}").unlink()
    (folder / "ckpt-2.index").write_bytes(b"nonsense")
    flip(folder / f"ckpt-1{DATA}", 8)
    message = (
        rf"No checkpoint in '{re.escape(str(folder))}' can be read\. "
        r"ckpt-3: .*; ckpt-2: .*; ckpt-1: .*Choose another folder"
    )
    with pytest.raises(ValueError, match=message):
        read_unchanged(folder)


@pytest.mark.parametrize("name", ["ckpt", "model"])
def test_checkpoints_of_somebody_else(folder, name):
    """They are no checkpoints of a run, and are never touched."""
    write(folder, 1)
    value = tf.Variable(2.0)
    other = tf.train.Checkpoint(state=tf.Variable(1.0), variables=[value])
    manager = tf.train.CheckpointManager(other, str(folder), 2, checkpoint_name=name)
    for number in (5, 6):
        manager.save(checkpoint_number=number)
    theirs = contents(folder)
    for ours in checkpoint_names(1):
        del theirs[ours]
    assert "checkpoint" in theirs
    if name == "ckpt":
        with (
            warns_of("ckpt-5: it was not written by", used="ckpt-1"),
            warns_of("ckpt-6: it was not written by", used="ckpt-1"),
        ):
            check(read_unchanged(folder), 1)
    else:
        check(read_unchanged(folder), 1)
    write(folder, 2, 3, 4, max_to_keep=1)
    assert theirs.items() <= contents(folder).items()
    last = 9 if name == "ckpt" else 4
    assert names(folder) == sorted([*theirs, *checkpoint_names(last)])
    check(read_unchanged(folder), 4)
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / f"{name}-6")
    value.assign(0.0)
    assert manager.restore_or_initialize() == str(folder / f"{name}-6")
    assert float(value) == 2.0


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b'model_checkpoint_path: "x"'])
def test_the_state_file_of_somebody_else(folder, content):
    """It says nothing that matters, and is never touched."""
    folder.mkdir()
    (folder / "checkpoint").write_bytes(content)
    assert read_unchanged(folder) is None
    write(folder, 1, 2, 3, max_to_keep=2)
    check(read_unchanged(folder), 3)
    assert names(folder) == sorted(["checkpoint", *checkpoint_names(2, 3)])
    assert (folder / "checkpoint").read_bytes() == content


def test_only_somebody_elses(folder):
    tf.train.Checkpoint(v=tf.Variable(1.0)).save(str(folder / "ckpt"))
    message = "ckpt-1: it was not written by keras_ext.callbacks.Checkpoint"
    with pytest.raises(ValueError, match=message):
        read_unchanged(folder)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"state": 1}'])
def test_somebody_elses_with_a_state_of_that_name(folder, text):
    class State(tf.train.experimental.PythonState):
        def serialize(self):
            return text

        def deserialize(self, string_value):
            raise NotImplementedError

    write(folder, 1)
    tf.train.Checkpoint(state=State()).write(str(folder / "ckpt-2"))
    with warns_of("ckpt-2: ", used="ckpt-1"):
        check(read_unchanged(folder), 1)


# What a kill leaves behind.


STEPS = [
    (CheckpointStore, "_write_files"),
    (os, "fsync"),
    (os, "replace"),
    (os, "remove"),
    (os, "unlink"),
    (os, "rmdir"),
    (pathlib.Path, "unlink"),
]


def moments(folder, copies, act):
    """Return copies of a folder as it is between any two steps of `act`, in order."""
    found = []

    def keep():
        if not found or contents(found[-1]) != contents(folder):
            found.append(copies / f"{len(found):02}")
            shutil.copytree(folder, found[-1])

    def watched(step):
        def wrapper(*args, **kwargs):
            keep()
            try:
                return step(*args, **kwargs)
            finally:
                keep()

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, watched(getattr(owner, name)))
        act()
    return found


@pytest.mark.parametrize("by_the_same", [False, True])
def test_the_order_of_the_steps(folder, tmp_path, by_the_same):
    """The data first, the index last; to remove it, the other way round."""
    files = CheckpointStore(str(folder), 2)
    put(files, 1, 2)
    if not by_the_same:
        files = CheckpointStore(str(folder), 2)
    act = functools.partial(put, files, 3)
    found = [names(one) for one in moments(folder, tmp_path / "moments", act)]
    both, beside = checkpoint_names(1, 2), "ckpt-3_temp"
    data, index = f"ckpt-3{DATA}", "ckpt-3.index"
    assert found == [
        both,
        sorted([*both, beside, f"{beside}/{data}", f"{beside}/{index}"]),
        sorted([*both, data, beside, f"{beside}/{index}"]),
        sorted([*both, data, index, beside]),
        checkpoint_names(1, 2, 3),
        sorted([f"ckpt-1{DATA}", *checkpoint_names(2, 3)]),
        checkpoint_names(2, 3),
    ]


@pytest.mark.parametrize(
    ("before", "max_to_keep"),
    [([], None), ([], 1), ([1, 2], None), ([1, 2], 2), ([1, 2, 3], 1)],
)
def test_killed_at_any_moment(folder, tmp_path, before, max_to_keep):
    """What is there is whole, is read, and the next one is written as ever."""
    write(folder, *before)
    number = len(before) + 1
    act = functools.partial(write, folder, number, max_to_keep=max_to_keep)
    found = moments(folder, tmp_path / "moments", act)
    assert len(found) >= 5
    for moment in found:
        there = [number] if f"ckpt-{number}.index" in names(moment) else []
        saved = read_unchanged(moment)
        if there or before:
            check(saved, [*before, *there][-1])
        else:
            # There is nothing that anybody could be sorry for.
            assert saved is None
        whole = contents(moment)
        write(moment, 9, max_to_keep=max_to_keep)
        check(read(moment), 9)
        kept = [*before, *there, number + len(there)][-(max_to_keep or 0) :]
        after = contents(moment)
        assert sorted(after) == checkpoint_names(*kept), moment
        kept = checkpoint_names(*kept[:-1])
        assert {name: after[name] for name in kept} == {n: whole[n] for n in kept}


def part_of_tensorflow(beside, stage):
    """Make of a whole checkpoint what is there while TensorFlow still writes it.

    It writes in a folder of its own, `ckpt-3_temp/ckpt-3_temp`, then puts the data into
    the folder above, and writes the index there. What is not the first one of a process
    is written into the folder above at once.
    """
    data, index = beside / f"ckpt-3{DATA}", beside / "ckpt-3.index"
    inner = beside / "ckpt-3_temp"
    if stage == "half of the index":
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
        return
    if stage == "part of the data at once":
        index.unlink()
        data.rename(beside / f"{data.name}.tempstate789")
        return
    inner.mkdir()
    if stage == "part of the index":
        index.rename(beside / "ckpt-3.index.tempstate123")
    elif stage == "parts":
        data.rename(inner / f"part{END}{DATA}")
        index.rename(inner / f"part{END}.index")
    else:
        index.unlink()
        content = data.read_bytes()
        data.unlink()
        if stage == "part of the data":
            part = inner / f"part{END}{DATA}.tempstate456"
            part.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "stage",
    [
        "nothing",
        "part of the data",
        "part of the data at once",
        "parts",
        "part of the index",
        "half of the index",
    ],
)
def test_killed_while_tensorflow_writes(folder, tmp_path, stage):
    write(folder, 1, 2)
    act = functools.partial(write, folder, 3)
    later = moments(folder, tmp_path / "moments", act)[1]
    part_of_tensorflow(later / "ckpt-3_temp", stage)
    # The same, with no other before it.
    first = shutil.copytree(later, tmp_path / "first")
    for name in checkpoint_names(1, 2):
        (first / name).unlink()
    assert read_unchanged(first) is None
    check(read_unchanged(later), 2)
    for there in (first, later):
        write(there, 7)
        check(read(there), 7)
    assert names(first) == checkpoint_names(1)
    assert names(later) == checkpoint_names(1, 2, 3)


def test_killed_again_and_again(folder, tmp_path):
    """Also while it is cleaned up after the last kill; and the folder does not grow."""
    write(folder, 1, 2, 3, max_to_keep=3)
    act = functools.partial(write, folder, 4, max_to_keep=3)
    for first in moments(folder, tmp_path / "first", act):
        newest = read(first).state["number"]
        act = functools.partial(write, first, 5, max_to_keep=3)
        copies = tmp_path / "second" / first.name
        for second in moments(first, copies, act):
            there = f"ckpt-{newest + 1}.index" in names(second)
            check(read_unchanged(second), 5 if there else newest)
            write(second, 6, max_to_keep=3)
            check(read(second), 6)
            last = newest + there + 1
            assert names(second) == checkpoint_names(last - 2, last - 1, last)


def test_other_files_stay(folder):
    folder.mkdir()
    others = ["log.csv", "ckpt.txt", "ckpt-best.keras", "weights_temp", "ckpt"]
    for name in others:
        (folder / name).write_text(name)
    (folder / "plots_temp").mkdir()
    (folder / "plots_temp" / "a.png").write_bytes(b"png")
    before = contents(folder)
    write(folder, 1, 2, 3, max_to_keep=1)
    assert before.items() <= contents(folder).items()
    assert names(folder) == sorted([*before, *checkpoint_names(3)])
    check(read(folder), 3)


def test_a_checkpoint_that_was_put_aside_stays(folder):
    """It is no longer one of the run."""
    write(folder, 1)
    for end in (".index", DATA):
        shutil.copy(folder / f"ckpt-1{end}", folder / f"ckpt-best{end}")
    write(folder, 2, 3, max_to_keep=1)
    best = [f"ckpt-best{DATA}", "ckpt-best.index"]
    assert names(folder) == sorted([*best, *checkpoint_names(3)])
    check(read(folder), 3)


def test_names_that_look_unfinished_stay(folder):
    """What is unfinished has a number."""
    (folder / "ckpt-best_temp").mkdir(parents=True)
    (folder / "ckpt-best_temp" / "notes.txt").write_text("notes")
    (folder / "ckpt-notes.data-2020.csv").write_text("notes")
    before = contents(folder)
    write(folder, 1, 2, max_to_keep=1)
    assert names(folder) == sorted([*before, *checkpoint_names(2)])


# What can't be written.


def test_an_error_is_raised_by_the_next_call(folder):
    folder.write_text("a file")
    files = CheckpointStore(str(folder))
    message = (
        rf"could not be written to '{re.escape(str(folder))}': .*"
        r"There is none yet\."
    )
    files.write([tf.Variable(1.0)], None)
    with pytest.raises(OSError, match=message):
        files.write([tf.Variable(1.0)], None)
    files.wait()
    files.write([tf.Variable(1.0)], None)
    with pytest.raises(OSError, match=message):
        files.wait()
    files.write([tf.Variable(1.0)], None)
    with pytest.raises(OSError, match=message):
        files.close()
    assert folder.read_text() == "a file"
    folder.unlink()
    files.write([tf.Variable(2.0)], "there is room again")
    files.close()
    assert read(folder).state == "there is room again"


def test_the_folder_is_gone(folder):
    files = CheckpointStore(str(folder), 2)
    for number in (1, 2):
        files.write([], number)
    files.wait()
    shutil.rmtree(folder)
    files.write([], 3)
    files.close()
    assert read(folder).state == 3


def test_a_state_that_is_no_plain_data(folder):
    files = CheckpointStore(str(folder))
    with pytest.raises(TypeError, match="Expected numbers, strings, numeric arrays"):
        files.write([], {"layer": object()})
    assert not folder.exists()
    files.write([], {"layer": None})
    files.close()
    assert read(folder).state == {"layer": None}


NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


@contextlib.contextmanager
def failing(name, end):
    """Have a step fail for files whose names end in some way."""
    with pytest.MonkeyPatch.context() as patch:
        step = getattr(os, name)

        def failing_step(file, *args):
            if name == "fsync" or str(file).endswith(end):
                raise NO_ROOM
            return step(file, *args)

        patch.setattr(os, name, failing_step)
        yield


@pytest.mark.parametrize(
    ("step", "end"), [("fsync", ""), ("replace", DATA), ("replace", ".index")]
)
def test_a_step_that_fails(folder, step, end):
    """What was there is left, and the last whole one is named."""
    write(folder, 1)
    before = contents(folder)
    files = CheckpointStore(str(folder), 3)
    message = r"No space left on device\. .*The last complete one is ckpt-1\."
    for _ in range(2):
        with failing(step, end):
            files.write([tf.Variable(1.0)], 2)
            with pytest.raises(OSError, match=message):
                files.wait()
        assert before.items() <= contents(folder).items()
        assert not (folder / "ckpt-2_temp").exists()
        check(read_unchanged(folder), 1)
    files.write([tf.Variable(1.0)], 3)
    files.close()
    assert read(folder).state == 3
    assert len(names(folder)) == 4


@pytest.mark.parametrize("max_to_keep", [None, 5])
def test_what_fails_takes_up_no_room(folder, max_to_keep):
    """Not for longer than until the next one."""
    files = CheckpointStore(str(folder), max_to_keep)
    files.write([], 1)
    files.wait()
    for _ in range(2):
        with failing("replace", ".index"):
            files.write([], 2)
            with pytest.raises(OSError, match="No space left on device"):
                files.wait()
    files.write([], 3)
    files.close()
    assert len(names(folder)) == 4


FULL = """
    import resource, sys, warnings
    import tensorflow as tf
    from keras_ext.training.resume.store import CheckpointStore
    from tests.training.resume.test_store import check, contents, put

    folder, no_limit = sys.argv[1], resource.RLIM_INFINITY
    warnings.simplefilter("error")
    files = CheckpointStore(folder, 3)
    put(files, 1, 2)
    before = contents(folder)
    if sys.argv[2] == "by another":
        files = CheckpointStore(folder, 3)
    # What fails first: the data, the data of few variables, everything.
    for limit, size in [(100_000, 1_000_000), (1_000, 1_000), (0, 1)]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, no_limit))
        for _ in range(2):
            # As many variables as before: with the array of the state, four.
            files.write([tf.Variable(tf.zeros(size))] * 4, 3)
            try:
                files.wait()
            except OSError as error:
                assert repr(folder) in str(error), error
                assert str(error).endswith("The last complete one is ckpt-2."), error
                assert "File too large" in str(error), error
            else:
                raise AssertionError(f"{size} numbers fit into {limit} bytes")
            assert contents(folder) == before
        check(CheckpointStore(folder).read(), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))
    files.write([tf.Variable(tf.zeros(1_000_000))], "there is room again")
    files.close()
    print(CheckpointStore(folder).read().state)
"""


@pytest.mark.parametrize("by", ["another", "the same"])
def test_a_full_disk(folder, by):
    output = printed("-c", textwrap.dedent(FULL), str(folder), f"by {by}")
    assert output == "there is room again\n"
    assert names(folder) == checkpoint_names(1, 2, 3)


# Iterators of datasets.


def numbers():
    return tf.data.Dataset.range(100).shuffle(100, seed=3).batch(4)


def write_iterators(folder, *positions):
    """Write a checkpoint of an iterator after each number of batches."""
    files = CheckpointStore(str(folder))
    iterator, at = iter(numbers()), 0
    for position in positions:
        for _ in range(position - at):
            next(iterator)
        at = position
        files.write([tf.Variable(position)], {"at": position}, [iterator])
    files.close()


def follow(saved, number=0):
    """Return what comes next from an iterator that was saved."""
    iterator = iter(numbers())
    saved.restore_iterator(number, iterator)
    return [batch.numpy().tolist() for batch in iterator]


def test_an_iterator_goes_on(folder):
    batches = [batch.numpy().tolist() for batch in iter(numbers())]
    write_iterators(folder, 0, 3, 24, 25)
    for at in (25, 24, 3, 0):
        saved = read_unchanged(folder)
        assert saved.state == {"at": at}
        assert follow(saved) == batches[at:]
        (folder / f"{pathlib.Path(saved.path).name}.index").unlink()


def test_several_iterators(folder):
    batches = [batch.numpy().tolist() for batch in iter(numbers())]
    iterators = [iter(numbers()) for _ in range(3)]
    for number, iterator in enumerate(iterators):
        for _ in range(2 * number):
            next(iterator)
    files = CheckpointStore(str(folder))
    files.write([], None, iterators)
    files.close()
    saved = read(folder)
    for number in (2, 0, 1):
        assert follow(saved, number) == batches[2 * number :]


def test_any_byte_of_a_checkpoint_with_an_iterator(folder):
    """What is read as whole can also be restored."""
    batches = [batch.numpy().tolist() for batch in iter(numbers())]
    write_iterators(folder, 2, 5)
    for end in (".index", DATA):
        path = folder / f"ckpt-2{end}"
        whole = path.read_bytes()
        for at in range(0, len(whole), len(whole) // 30):
            flip(path, at)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*ckpt-2: ")
                saved = read(folder)
            position = saved.state["at"]
            assert (saved.path[-1], position) in [("1", 2), ("2", 5)]
            assert follow(saved) == batches[position:]
            path.write_bytes(whole)


def test_killed_while_an_iterator_is_saved(folder, tmp_path):
    batches = [batch.numpy().tolist() for batch in iter(numbers())]
    write_iterators(folder, 2)
    act = functools.partial(write_iterators, folder, 5)
    for moment in moments(folder, tmp_path / "moments", act):
        saved = read_unchanged(moment)
        at = 5 if "ckpt-2.index" in names(moment) else 2
        assert saved.state == {"at": at}
        assert follow(saved) == batches[at:]
        write_iterators(moment, 7)
        assert follow(read(moment)) == batches[7:]
        assert len(names(moment)) == 2 * (2 + (at == 5))


def test_an_iterator_that_cant_be_saved(folder):
    def count():
        yield from range(10)

    iterator = iter(tf.data.Dataset.from_generator(count, output_types=tf.int64))
    next(iterator)
    write(folder, 1)
    before = contents(folder)
    files = CheckpointStore(str(folder))
    with pytest.raises(tf.errors.FailedPreconditionError):
        files.write([tf.Variable(1.0)], 2, [iterator])
    assert contents(folder) == before
    files.write([tf.Variable(1.0)], 2)
    files.close()
    assert read(folder).state == 2
