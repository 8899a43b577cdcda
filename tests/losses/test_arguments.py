"""Arguments of losses: their names and defaults, and the one table that checks them."""

import inspect

import keras
import numpy as np
import pytest

from keras_ext import losses
from keras_ext.losses._function_loss import FunctionLoss, checked

# Files that were saved hold these names: they may be added to, but not changed.
DEFAULTS = {
    "Asymmetric": {
        "gamma_negative": 4.0,
        "gamma_positive": 1.0,
        "clip": 0.05,
        "from_logits": False,
    },
    "CRFNegativeLogLikelihood": {},
    "Charbonnier": {"epsilon": 1e-3},
    "Contrastive": {"margin": 1.0},
    "IoU": {"form": "giou", "bounding_box_format": "xyxy"},
    "LiftedStruct": {"margin": 1.0, "distance": "euclidean", "ignore_class": None},
    "LovaszSoftmax": {"classes": "present", "from_logits": False, "ignore_class": None},
    "NPairs": {"ignore_class": None},
    "NPairsMultilabel": {},
    "NTXent": {"temperature": 0.1},
    "Pinball": {"tau": 0.5},
    "Poly": {
        "epsilon": 1.0,
        "from_logits": False,
        "sparse_y_true": True,
        "ignore_class": None,
        "axis": -1,
    },
    "SSIM": {
        "max_value": 1.0,
        "filter_size": 11,
        "sigma": 1.5,
        "k1": 0.01,
        "k2": 0.03,
        "data_format": None,
    },
    "SparseCategoricalCrossentropy": {
        "label_smoothing": 0.0,
        "from_logits": False,
        "ignore_class": None,
        "axis": -1,
    },
    "SparseCategoricalFocalCrossentropy": {
        "alpha": 0.25,
        "gamma": 2.0,
        "from_logits": False,
        "ignore_class": None,
        "axis": -1,
    },
    "Sparsemax": {"sparse_y_true": True, "ignore_class": None, "axis": -1},
    "SupervisedContrastive": {"temperature": 0.1, "ignore_class": None},
    "TripletHard": {
        "margin": 1.0,
        "distance": "euclidean",
        "soft_margin": False,
        "ignore_class": None,
    },
    "TripletSemiHard": {
        "margin": 1.0,
        "distance": "squared_euclidean",
        "ignore_class": None,
    },
    "WeightedKappa": {
        "num_classes": inspect.Parameter.empty,
        "weights": "quadratic",
        "from_logits": False,
    },
}
OF_ALL = {"reduction": "sum_over_batch_size", "dtype": None}
every_loss = pytest.mark.parametrize(("name", "defaults"), DEFAULTS.items())


def _function(cls):
    """Return the function that stands in the file of a loss."""
    module = inspect.getmodule(cls)
    return getattr(module, module.__name__.rpartition(".")[2])


def _defaults(thing):
    parameters = inspect.signature(thing).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def test_every_loss_is_here():
    assert set(DEFAULTS) == {name for name in losses.__all__ if name[0].isupper()}


@every_loss
def test_class_and_function_have_the_same_arguments(name, defaults):
    cls = getattr(losses, name)
    own_name = _function(cls).__name__
    of_function = {"y_true": inspect.Parameter.empty, "y_pred": inspect.Parameter.empty}
    assert _defaults(_function(cls)) == {**of_function, **defaults}
    assert _defaults(cls) == {**defaults, **OF_ALL, "name": own_name}
    assert list(_defaults(cls)) == [*defaults, "reduction", "name", "dtype"]


@every_loss
def test_each_is_an_attribute_and_an_entry_of_the_config(name, defaults):
    given = dict(defaults)
    if "num_classes" in given:
        given["num_classes"] = 3
    loss = getattr(losses, name)(**given)
    if "data_format" in given:
        given["data_format"] = keras.config.image_data_format()
    assert {argument: getattr(loss, argument) for argument in given} == given
    config = loss.get_config()
    of_all = {"name": loss.name, "reduction": loss.reduction, "dtype": "float32"}
    assert config == {**given, **of_all}


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, argument)
        for name, defaults in DEFAULTS.items()
        for argument, default in defaults.items()
        if not isinstance(default, bool)
    ],
)
def test_class_and_function_refuse_the_same(name, argument):
    cls = getattr(losses, name)
    given = {"num_classes": 3} if name == "WeightedKappa" else {}
    given[argument] = "neither a number nor a choice"
    with pytest.raises(ValueError, match=rf"`{argument}` must be ") as of_class:
        cls(**given)
    # Before it looks at the targets and predictions.
    with pytest.raises(ValueError, match=rf"`{argument}` must be ") as of_function:
        _function(cls)(None, None, **given)
    assert str(of_class.value) == str(of_function.value)


def test_an_argument_is_checked_once():
    seen = []

    def check(name, value):
        seen.append((name, value))
        return value

    @checked(scale=check)
    def error(y_true, y_pred, scale=1.0):
        return scale * np.abs(y_true - y_pred)

    assert error(3.0, 2.0) == 1.0
    assert error(3.0, 2.0, 4) == 4.0
    assert seen == [("scale", 1.0), ("scale", 4)]
    loss = FunctionLoss(error, reduction="sum", name=None, dtype=None, scale=2.0)
    for _ in range(2):
        assert float(loss(np.float32([3]), np.float32([2]))) == 2.0
    assert seen[2:] == [("scale", 2.0)]


def test_missing_and_unknown_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match=r"poly\(\) missing .* argument: 'y_pred'"):
        losses.poly([0])
    with pytest.raises(TypeError, match=r"poly\(\) got an unexpected .* 'margin'"):
        losses.poly([0], [[0.5, 0.5]], margin=1.0)
