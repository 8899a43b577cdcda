"""Nested values as JSON and arrays, and back: the same values of the same types."""

import collections
import json
import math
import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.resume.codec import is_plain, pack, unpack

pytestmark = pytest.mark.once


def there_and_back(value):
    text, arrays = pack(value)
    return unpack(json.loads(text), [np.asarray(one) for one in arrays])


def same(first, second):
    """Whether two values are equal and of one type, item by item; NaN is NaN."""
    if type(first) is not type(second):
        return False
    if isinstance(first, (set, frozenset)):
        return sorted(map(repr, first)) == sorted(map(repr, second))
    if isinstance(first, collections.deque) and first.maxlen != second.maxlen:
        return False
    if isinstance(first, (list, tuple, collections.deque)):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return same(list(first.items()), list(second.items()))
    if isinstance(first, (np.ndarray, np.generic)):
        return (
            first.dtype == second.dtype
            and first.shape == second.shape
            and first.tobytes() == second.tobytes()
        )
    if isinstance(first, float) and math.isnan(first):
        return math.isnan(second)
    return first == second and repr(first) == repr(second)


PLAIN = {
    "None": None,
    "bool": [True, False],
    "int": [0, -1, 2**31, 2**63, -(2**63), 10**30],
    "float": [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e-7, 3.0],
    "NaN": math.nan,
    "infinite": [math.inf, -math.inf],
    "str": ["", "a", "ü€𝄞", '"quoted"\\\n\0', "\ud800", "NaN", "null"],
    "empty": [(), [], {}, ((),), [[]], {"": {}}],
    "tuple": (1, (2, (3, [4, (5,)])), []),
    "list of tuples": [(1, 2), [3, 4]],
    "dict": {"a": 1, "b": {"c": (2, [3])}},
    "order of a dict": {"b": 1, "a": 2, "c": {"z": 0, "y": 1}},
    "int keys": {0: "zero", -1: "minus one", 2: {3: 4}},
    "keys that JSON would make equal": {1: "int", "1": "str"},
    "keys of several types": {None: 0, "None": 1, 0.5: 2, (1, (2, "a")): 3},
    "bool key": {True: "true"},
    "NaN key": {"a": {math.inf: 1}},
    "__kind__": {"__kind__": "tuple", "items": [1, 2]},
    "__kind__ of an array": {"__kind__": "array", "array": 0},
    "__kind__ that is none": {"__kind__": 5, "x": {"__kind__": {"__kind__": ()}}},
    "looks packed": ["__kind__", {"items": [], "array": 0}],
    "set": [{1, 2.5, "a", None}, set(), {(1, (2,))}],
    "frozenset": [frozenset("ab"), {frozenset({1}), frozenset()}],
    "deque": [collections.deque([1, (2,), [3]]), collections.deque()],
    "Counter": [collections.Counter("aab"), collections.Counter({(1, 2): -3})],
    "OrderedDict": collections.OrderedDict([("b", 1), (2, {"c": {3}}), ("a", None)]),
    "keys that are sets": {frozenset({1}): {"__kind__": {2}}},
    "random state": [keras.random.SeedGenerator(3).get_config(), (3, (1, 2), None)],
}


def test_plain_values():
    for name, value in PLAIN.items():
        assert is_plain(value), name
        text, arrays = pack(value)
        assert arrays == [], name
        assert same(unpack(json.loads(text), []), value), name


def test_a_deque_keeps_how_long_it_may_be():
    value = collections.deque([1, 2], maxlen=2)
    assert same(there_and_back([value]), [value])


SCALARS = [
    np.bool_(True),
    np.bool_(False),
    np.int8(-128),
    np.int16(-32768),
    np.int32(-(2**31)),
    np.int64(-(2**63)),
    np.uint8(255),
    np.uint16(65535),
    np.uint32(2**32 - 1),
    np.uint64(2**64 - 1),
    np.float16(0.1),
    np.float32(0.1),
    np.float64(0.1),
    np.float32("nan"),
    np.float64("-inf"),
    np.float64(-0.0),
    np.complex64(1 + 2j),
    np.complex128(complex(0.1, math.inf)),
]


def test_numpy_scalars_keep_their_type():
    assert is_plain(SCALARS)
    assert same(there_and_back({"a": SCALARS})["a"], SCALARS)
    for value in SCALARS:
        assert same(there_and_back(value), value)


def test_a_numpy_scalar_as_a_key():
    result = there_and_back({np.int64(3): "three", np.float32(0.5): "half"})
    assert result == {3: "three", 0.5: "half"}
    assert [type(key) for key in result] == [np.int64, np.float32]


ARRAYS = {
    "vector": np.arange(5),
    "matrix": np.arange(6, dtype="float32").reshape(2, 3),
    "one number": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j, np.nan]),
    "NaN": np.array([np.nan, np.inf, -np.inf, -0.0], "float32"),
    "half": np.array([0.1], "float16"),
    "unsigned": np.array([2**64 - 1], "uint64"),
    "every second, backwards": np.arange(9)[::-2],
    "column by column": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


def test_arrays():
    for name, value in ARRAYS.items():
        assert is_plain(value)
        nested = (value, [{"deep": value}], collections.deque([value]))
        assert same(there_and_back(nested), nested), name


def test_arrays_are_counted_in_the_order_of_the_value():
    value = [np.int32(1), {"a": np.array([2]), 5: (np.float64(3),)}, tf.constant(4)]
    text, arrays = pack(value)
    assert [int(np.sum(array)) for array in arrays] == [1, 2, 3, 4]
    assert unpack(json.loads(text), arrays)[1][5] == (3.0,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint32", "bool"])
def test_tensors_come_back_as_arrays(dtype):
    value = tf.cast(tf.constant([[0.0, 1.0, 3.0]]), dtype)
    assert is_plain([value])
    result = there_and_back([value])[0]
    assert isinstance(result, np.ndarray)
    assert result.dtype == tf.as_dtype(dtype).as_numpy_dtype
    assert result.shape == (1, 3)
    assert result.tobytes() == value.numpy().tobytes()


def test_bfloat16_keeps_every_bit():
    value = tf.constant([1 / 3, -1e38, math.inf, math.nan, 1e-40], tf.bfloat16)
    result = there_and_back({"x": value})["x"]
    bits = tf.bitcast(value, tf.uint16).numpy()
    assert result.view("uint16").tolist() == bits.tolist()


def test_a_bfloat16_number_of_numpy():
    value = tf.constant(1 / 3, tf.bfloat16).numpy()
    assert type(there_and_back([value])[0]) is type(value)
    assert there_and_back([value])[0] == value


def test_arrays_are_those_at_the_time_of_pack():
    array, whole = np.zeros(3), np.zeros((2, 3))
    state = {"array": array, "view": whole[0], "items": [1], "inner": {"a": 1}}
    text, arrays = pack(state)
    array += 1
    whole[:] = 7
    state["items"].append(2)
    state["inner"]["a"] = 5
    result = unpack(json.loads(text), arrays)
    assert result["array"].tolist() == [0, 0, 0]
    assert result["view"].tolist() == [0, 0, 0]
    assert result["items"] == [1]
    assert result["inner"] == {"a": 1}


def test_random_states_of_python_and_numpy():
    states = [random.getstate(), np.random.get_state()]
    expected = random.random(), np.random.random()
    python, numpy = there_and_back(states)
    random.setstate(python)
    np.random.set_state(numpy)
    assert (random.random(), np.random.random()) == expected


Point = collections.namedtuple("Point", ["x", "y"])


class Thing:
    """Nothing that can be written down."""

    def __repr__(self):
        return "a thing"


REFUSED = {
    "object": Thing(),
    "class": Thing,
    "function": len,
    "bytes": b"abc",
    "complex": 1j,
    "range": range(3),
    "iterator": iter([1]),
    "layer": keras.layers.Dense(1),
    "lock": threading.Lock(),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "named tuple": Point(1, 2),
    "subclass of a list": type("Items", (list,), {})([1]),
    "subclass of a dict": type("Items", (dict,), {})(a=1),
    "subclass of an int": type("Number", (int,), {})(1),
    "keys of a dict": {"a": 1}.keys(),
    "string of NumPy": np.str_("ü"),
    "strings of NumPy": np.array(["a", "ü"]),
    "no strings of NumPy": np.array([], "U3"),
    "strings of TensorFlow": tf.constant(["a"]),
    "ragged": tf.ragged.constant([[1], []]),
    # They would come back as an array, which can't be assigned to.
    "variable": tf.Variable(1.0),
    "variable of Keras": keras.Variable(1.0),
    "KerasTensor": keras.KerasTensor((2,)),
    "array of objects": np.array([Thing()], dtype=object),
    "array of dates": np.array(["2020-01-01"], "datetime64[D]"),
    "date": np.datetime64("2020-01-01"),
    "length of time": np.timedelta64(1, "s"),
    "array of records": np.array([(1, 2.0)], "i4,f8"),
    "long double": np.longdouble(1),
}


def test_the_rest_is_refused():
    for name, value in REFUSED.items():
        deque = collections.deque([value])
        for nested in (value, [value], (1, {"a": value}), {"a": {1: [value]}}, deque):
            assert not is_plain(nested), name
            with pytest.raises(TypeError, match="Expected numbers, strings, numeric"):
                pack(nested)


def test_a_masked_array_is_refused_or_comes_back():
    """Without its mask it is another array."""
    value = np.ma.array([1, 2], mask=[False, True])
    assert not is_plain(value) or same(there_and_back(value), value)


def test_a_refused_key():
    key = Thing()
    assert not is_plain({key: 1})
    for nested in ({"fine": {key: 1}}, {key}, {(1, key): 2}, [frozenset([key])]):
        with pytest.raises(TypeError, match=r"Received: .*a thing.* of type \w+$"):
            pack(nested)
