"""Checkpoints as files: whole or not at all, whatever happens to disk and process."""

import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.checkpoint_files import CheckpointFiles

DATA = ".data-00000-of-00001"
PART = "part-00000-of-00001"


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
    files = CheckpointFiles(str(folder), max_to_keep)
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
    return CheckpointFiles(str(folder)).read()


def contents(folder):
    """Return a hash of every file in a folder, `None` for a folder in it."""
    return {
        str(path.relative_to(folder)): None
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(folder).rglob("*"))
    }


def checkpoints(folder):
    """Return `contents` without the state file, which says nothing that matters."""
    found = contents(folder)
    found.pop("checkpoint", None)
    return found


def names(folder):
    return sorted(contents(folder))


def checkpoint_names(*numbers):
    found = [f"ckpt-{n}{end}" for n in numbers for end in (DATA, ".index")]
    return sorted([*found, "checkpoint"])


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
    files = CheckpointFiles(str(folder))
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
    files = CheckpointFiles(str(folder))
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
    files = CheckpointFiles(str(folder))
    files.write(variables, None)
    files.close()
    saved = read(folder)
    assert saved.state is None
    for value, other in zip(saved.variables, expected, strict=True):
        assert (value.dtype, value.shape) == (other.dtype, other.shape)
        assert value.tobytes() == other.tobytes()


@pytest.mark.parametrize("count", [0, 1, 11, 101])
def test_any_number_of_variables_in_their_order(folder, count):
    files = CheckpointFiles(str(folder))
    files.write([tf.Variable(i) for i in range(count)], {"arrays": [np.array(-1)] * 3})
    files.close()
    saved = read(folder)
    assert [int(value) for value in saved.variables] == list(range(count))
    assert [int(value) for value in saved.state["arrays"]] == [-1, -1, -1]


def test_other_variables_every_time(folder):
    """Shapes, types and their number may change from one to the next."""
    files = CheckpointFiles(str(folder))
    for number, shape in enumerate([(3,), (2, 2), (), (4, 0)]):
        variables = [tf.Variable(tf.fill(shape, number))] * (number + 1)
        files.write(variables, {"number": number, "extra": [np.float32(1)] * number})
        files.wait()
        saved = read(folder)
        assert saved.state["number"] == number
        assert [value.shape for value in saved.variables] == [shape] * (number + 1)
        assert all((value == number).all() for value in saved.variables)
    files.close()


def test_nothing_there(folder, tmp_path):
    assert read(folder) is None
    assert CheckpointFiles(str(folder)).paths() == []
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
    paths = CheckpointFiles(str(folder)).paths()
    assert paths == [str(folder / f"ckpt-{number}") for number in kept]
    check(read(folder), 5)


def test_max_to_keep_counts_those_of_earlier_processes(folder):
    for number in range(1, 6):
        write(folder, number, max_to_keep=2)
        assert names(folder) == checkpoint_names(
            *[n for n in (number - 1, number) if n]
        )
        check(read(folder), number)


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\xff\xfe\0"])
def test_max_to_keep_hangs_on_no_state_file(folder, content):
    write(folder, 1, 2, 3, max_to_keep=3)
    (folder / "checkpoint").unlink()
    if content is not None:
        (folder / "checkpoint").write_bytes(content)
    write(folder, 4, max_to_keep=3)
    check(read(folder), 4)
    assert names(folder) == checkpoint_names(2, 3, 4)


def test_ten_comes_after_nine(folder):
    write(folder, *range(1, 12), max_to_keep=3)
    assert names(folder) == checkpoint_names(9, 10, 11)
    check(read(folder), 11)


@pytest.mark.parametrize("name", ["run[1]", "run?", "ru*", "run\\1", "r u n", "rün"])
def test_another_folder_is_never_touched(tmp_path, name):
    """TensorFlow takes some names for patterns, which the names of others fit."""
    write(tmp_path / "run1", 1, 2)
    before = contents(tmp_path / "run1")
    try:
        write(tmp_path / name, 4, 5, 6, max_to_keep=1)
    except ValueError:
        # It may be refused, but for names that are none.
        assert set(name) & set("[?*\\")
        assert not (tmp_path / name).exists()
    else:
        check(read(tmp_path / name), 6)
        assert names(tmp_path / name) == checkpoint_names(3)
    assert contents(tmp_path / "run1") == before


@pytest.mark.parametrize(
    "there",
    ["ckpt-7.index", "ckpt-7.data-00000-of-00002", "ckpt-7", "ckpt-7.index.copy"],
)
def test_no_number_is_used_twice(folder, there):
    write(folder, 1, 2)
    (folder / there).write_bytes(b"somebody's")
    (folder / "ckpt-6.index").write_bytes(b"broken")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(folder, 3)
    before = contents(folder)
    assert "ckpt-8.index" in before or there not in before
    assert "ckpt-3.index" not in before
    check(read(folder), 3)


def test_what_is_there_is_never_written_over(folder):
    written = {}
    for number in range(1, 5):
        write(folder, number)
        now = contents(folder)
        del now["checkpoint"]
        assert {name: now[name] for name in written} == written
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
    files = CheckpointFiles(str(folder), max_to_keep=2)
    made = 0
    for _ in range(12):
        files.write(variables, {"made": made})
        at_that_time = made
        for _ in range(4):
            update()
            made += 1
        files.wait()
        saved = CheckpointFiles(str(folder)).read()
        assert saved.state == {"made": at_that_time}
        large, iterations = saved.variables
        assert iterations == at_that_time
        assert (large == -at_that_time).all()
    files.close()
    assert (tf.convert_to_tensor(variables[0]).numpy() == -made).all()


@pytest.mark.parametrize("kind", UPDATES)
def test_steps_go_on_while_it_is_written(folder, kind, monkeypatch):
    """However slow the disk is; and the next `write` waits for the last."""
    go_on, written = threading.Event(), []
    save = tf.train.CheckpointManager.save

    def slow_save(manager, *args, **kwargs):
        assert go_on.wait(60)
        written.append(save(manager, *args, **kwargs))
        return written[-1]

    monkeypatch.setattr(tf.train.CheckpointManager, "save", slow_save)
    variables, update = make_update(kind)
    files = CheckpointFiles(str(folder))
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
    assert [pathlib.Path(path).name for path in written] == ["ckpt-1", "ckpt-2"]
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
    files = CheckpointFiles(str(folder))
    for number in range(10):
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
            assert len(messages) == (1 if number == 1 else 0), (end, at, messages)
            assert all("ckpt-2: " in one for one in messages)
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
@pytest.mark.parametrize("part", [0, 0.01, 0.25, 0.5, 0.9, -1])
def test_a_truncated_file(folder, end, part):
    write(folder, 1, 2)
    path = folder / f"ckpt-2{end}"
    whole = path.read_bytes()
    path.write_bytes(whole[: part if part < 0 else int(part * len(whole))])
    with warns_of("ckpt-2: ", used="ckpt-1"):
        check(read_unchanged(folder), 1)


def test_data_without_its_beginning(folder):
    write(folder, 1, 2)
    path = folder / f"ckpt-2{DATA}"
    path.write_bytes(path.read_bytes()[1:])
    with warns_of("ckpt-2: ", used="ckpt-1"):
        check(read_unchanged(folder), 1)


def test_data_that_is_missing(folder):
    write(folder, 1, 2)
    (folder / f"ckpt-2{DATA}").unlink()
    with warns_of("ckpt-2: ", used="ckpt-1"):
        check(read_unchanged(folder), 1)


def test_the_data_of_another_checkpoint(folder):
    write(folder, 1, 2)
    shutil.copy(folder / f"ckpt-1{DATA}", folder / f"ckpt-2{DATA}")
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
    messages = [str(one.message) for one in caught]
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


STATE_FILES = {
    "missing": None,
    "empty": b"",
    "text": b"garbage",
    "no text": b"\xff\xfe\0\x80",
    "no path": b'model_checkpoint_path: ""\n',
    "cut": b'model_checkpoint_path: "ckpt-2"\nall_model_checkp',
    "one that is not there": b'model_checkpoint_path: "ckpt-99"\n',
    "an older one": b'model_checkpoint_path: "ckpt-1"\n',
}


@pytest.mark.parametrize("content", STATE_FILES.values(), ids=STATE_FILES)
def test_the_state_file_says_nothing_that_matters(folder, content):
    """Neither when a checkpoint is read, nor when the next one is written."""
    write(folder, 1, 2)
    (folder / "checkpoint").unlink()
    if content is not None:
        (folder / "checkpoint").write_bytes(content)
    check(read_unchanged(folder), 2)
    write(folder, 3)
    check(read_unchanged(folder), 3)
    assert names(folder) == checkpoint_names(1, 2, 3)


@pytest.mark.parametrize("name", ["ckpt", "model"])
def test_checkpoints_of_somebody_else(folder, name):
    """They are no checkpoints of a run, and are never removed."""
    write(folder, 1)
    other = tf.train.Checkpoint(state=tf.Variable(1.0), variables=[tf.Variable(2.0)])
    manager = tf.train.CheckpointManager(other, str(folder), None, checkpoint_name=name)
    manager.save(checkpoint_number=5)
    before = contents(folder)
    if name == "ckpt":
        with warns_of("ckpt-5: it was not written by", used="ckpt-1"):
            check(read_unchanged(folder), 1)
    else:
        check(read_unchanged(folder), 1)
    write(folder, 2, 3, 4, max_to_keep=1)
    after = contents(folder)
    for end in (".index", DATA):
        assert after[f"{name}-5{end}"] == before[f"{name}-5{end}"]
    check(read(folder), 4)


def test_only_somebody_elses(folder):
    tf.train.Checkpoint(v=tf.Variable(1.0)).save(str(folder / "ckpt"))
    message = "ckpt-1: it was not written by keras_ext.callbacks.Checkpoint"
    with pytest.raises(ValueError, match=message):
        read_unchanged(folder)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "5", '{"state": 1}', "null"])
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


def make_crash(folder, stage, *, number=3):
    """Make what is there when a process is killed while it writes a checkpoint.

    TensorFlow writes a file in a folder `ckpt-N_temp`, moves the data out of it, writes
    the index, removes the folder, and writes the state file under another name first.
    """
    write(folder, *range(1, number))
    before = (folder / "checkpoint").read_bytes() if number > 1 else None
    write(folder, number)
    index, data = folder / f"ckpt-{number}.index", folder / f"ckpt-{number}{DATA}"
    temporary = folder / f"ckpt-{number}_temp"
    if stage == "state file partly written":
        (folder / "checkpoint.tmp0123456789abcdef").write_bytes(b"model_check")
    (folder / "checkpoint").unlink()
    if before is not None:
        (folder / "checkpoint").write_bytes(before)
    if stage in ("state file not written", "state file partly written"):
        return
    temporary.mkdir()
    if stage == "folder not yet removed":
        return
    if stage in ("index whole", "index half", "index empty"):
        shutil.copy(index, temporary / f"{PART}.index")
        size = {"index whole": index.stat().st_size, "index empty": 0}
        content = index.read_bytes()
        index.write_bytes(content[: size.get(stage, len(content) // 2)])
        return
    shutil.move(index, temporary / f"{PART}.index")
    if stage == "data moved":
        return
    shutil.move(data, temporary / f"{PART}{DATA}")
    if stage == "parts whole":
        return
    (temporary / f"{PART}.index").unlink()
    part = temporary / f"{PART}{DATA}"
    if stage == "part of an index":
        (temporary / f"{PART}.index.tempstate123").write_bytes(b"\0" * 10)
        return
    content = part.read_bytes()
    part.unlink()
    if stage == "part of data":
        half = content[: len(content) // 2]
        (temporary / f"{PART}{DATA}.tempstate456").write_bytes(half)
        return
    assert stage == "empty folder"


UNFINISHED = [
    "empty folder",
    "part of data",
    "part of an index",
    "parts whole",
    "data moved",
]
HALF = ["index empty", "index half"]
FINISHED = [
    "index whole",
    "folder not yet removed",
    "state file not written",
    "state file partly written",
]


@pytest.mark.parametrize("stage", [*UNFINISHED, *HALF, *FINISHED])
def test_killed_while_writing(folder, stage):
    make_crash(folder, stage)
    number = 3 if stage in FINISHED else 2
    with warnings.catch_warnings():
        if stage in HALF:
            # It is said, or it is not: it can be either of a kill and of damage.
            warnings.filterwarnings("ignore", message=".*ckpt-3: ")
        check(read_unchanged(folder), number)
    before = contents(folder)
    write(folder, 7)
    check(read(folder), 7)
    after = contents(folder)
    whole = [n for n in checkpoint_names(*range(1, number + 1)) if n != "checkpoint"]
    assert {name: after[name] for name in whole} == {n: before[n] for n in whole}
    new = sorted(set(after) - {*whole, "checkpoint"})
    assert new in [[f"ckpt-{n}{DATA}", f"ckpt-{n}.index"] for n in (3, 4)]


@pytest.mark.parametrize("stage", [*UNFINISHED, *HALF])
def test_killed_while_the_first_is_written(folder, stage):
    """The run begins anew: there is nothing that anybody could be sorry for."""
    make_crash(folder, stage, number=1)
    assert read_unchanged(folder) is None
    write(folder, 7)
    check(read(folder), 7)
    numbers = {re.match(r"ckpt-(\d+)", n)[1] for n in names(folder) if "-" in n}
    assert names(folder) == checkpoint_names(*numbers)
    assert len(numbers) == 1


@pytest.mark.parametrize("stage", FINISHED)
def test_killed_when_the_first_was_written(folder, stage):
    make_crash(folder, stage, number=1)
    check(read_unchanged(folder), 1)
    write(folder, 2, max_to_keep=1)
    check(read(folder), 2)
    assert names(folder) == checkpoint_names(2)


@pytest.mark.parametrize("left", [[DATA], []])
def test_killed_while_an_old_one_is_removed(folder, left):
    """Its index goes first."""
    write(folder, 1, 2, 3)
    for end in {DATA, ".index"}.difference(left):
        (folder / f"ckpt-1{end}").unlink()
    check(read_unchanged(folder), 3)
    write(folder, 4, max_to_keep=3)
    check(read(folder), 4)
    assert names(folder) == checkpoint_names(2, 3, 4)


@pytest.mark.parametrize("stage", FINISHED)
def test_killed_again_and_again(folder, stage):
    """The folder does not grow."""
    for number in range(3, 7):
        if number == 3:
            make_crash(folder, stage)
        else:
            before = (folder / "checkpoint").read_bytes()
            write(folder, number, max_to_keep=3)
            (folder / "checkpoint").write_bytes(before)
    write(folder, 7, max_to_keep=3)
    check(read(folder), 7)
    assert names(folder) == checkpoint_names(5, 6, 7)


def test_other_files_stay(folder):
    folder.mkdir()
    others = ["log.csv", "ckpt.txt", "ckpt-best.keras", "weights_temp", "ckpt"]
    for name in others:
        (folder / name).write_text(name)
    (folder / "plots_temp").mkdir()
    (folder / "plots_temp" / "a.png").write_bytes(b"png")
    before = contents(folder)
    write(folder, 1, 2, 3, max_to_keep=1)
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    check(read(folder), 3)


# What can't be written.


def test_an_error_is_raised_by_the_next_call(folder):
    folder.write_text("a file")
    files = CheckpointFiles(str(folder))
    message = (
        rf"could not be written to '{re.escape(str(folder))}': .*"
        r"The last whole one is none\."
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
    files = CheckpointFiles(str(folder), 2)
    for number in (1, 2):
        files.write([], number)
    files.wait()
    shutil.rmtree(folder)
    files.write([], 3)
    files.close()
    assert read(folder).state == 3


def test_a_state_that_is_no_plain_data(folder):
    files = CheckpointFiles(str(folder))
    with pytest.raises(TypeError, match="Expected numbers, strings, arrays"):
        files.write([], {"layer": object()})
    assert not folder.exists()
    files.write([], {"layer": None})
    files.close()
    assert read(folder).state == {"layer": None}


def test_the_last_whole_one_is_named_when_a_write_fails(folder, monkeypatch):
    """Not the one that was half written when the disk was full."""
    write(folder, 1)
    before = checkpoints(folder)

    def save(manager, checkpoint_number):
        data, index = folder / f"ckpt-2{DATA}", folder / "ckpt-2.index"
        data.write_bytes(b"part of it")
        index.write_bytes(b"")
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    files = CheckpointFiles(str(folder))
    files.write([tf.Variable(1.0)], 2)
    message = r"No space left on device\. .*The last whole one is ckpt-1\."
    with pytest.raises(OSError, match=message):
        files.close()
    # And nothing takes up the room that is lacking.
    assert checkpoints(folder) == before


FULL = """
    import resource, sys, warnings
    import tensorflow as tf
    from keras_ext.training.checkpoint_files import CheckpointFiles
    from tests.training.test_checkpoint_files import check, checkpoints, write

    folder, no_limit = sys.argv[1], resource.RLIM_INFINITY
    warnings.simplefilter("error")
    write(folder, 1, 2)
    before = checkpoints(folder)
    files = CheckpointFiles(folder, 3)
    # What fails first: the data, the data of few variables, everything.
    for limit, size in [(100_000, 1_000_000), (1_000, 1_000), (0, 1)]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, no_limit))
        for _ in range(2):
            files.write([tf.Variable(tf.zeros(size))], 3)
            try:
                files.wait()
            except OSError as error:
                assert repr(folder) in str(error), error
                assert str(error).endswith("The last whole one is ckpt-2."), error
                assert "File too large" in str(error), error
            else:
                raise AssertionError(f"{size} numbers fit into {limit} bytes")
            assert checkpoints(folder) == before
        check(CheckpointFiles(folder).read(), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))
    files.write([tf.Variable(tf.zeros(1_000_000))], "there is room again")
    files.close()
    print(CheckpointFiles(folder).read().state)
"""


def test_a_full_disk(folder):
    root = pathlib.Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(folder)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "there is room again\n"
    assert names(folder) == checkpoint_names(1, 2, 3)


# Iterators of datasets.


def numbers():
    return tf.data.Dataset.range(100).shuffle(100, seed=3).batch(4)


def write_iterators(folder, *positions):
    """Write a checkpoint of an iterator after each number of batches."""
    files = CheckpointFiles(str(folder))
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
    files = CheckpointFiles(str(folder))
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


def test_an_iterator_that_cant_be_saved(folder):
    def count():
        yield from range(10)

    iterator = iter(tf.data.Dataset.from_generator(count, output_types=tf.int64))
    next(iterator)
    write(folder, 1)
    before = checkpoints(folder)
    files = CheckpointFiles(str(folder))
    with pytest.raises(tf.errors.FailedPreconditionError):
        files.write([tf.Variable(1.0)], 2, [iterator])
    assert checkpoints(folder) == before
    files.write([tf.Variable(1.0)], 2)
    files.close()
    assert read(folder).state == 2
