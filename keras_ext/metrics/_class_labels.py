"""Labels that should be classes: which of them are none."""

from keras_ext import _labels
from keras_ext._types import Tensor
from keras_ext.metrics._numbers import are_numbers

_HINTS = {
    "y_true": "Give samples without a class a `sample_weight` of 0.",
    "y_pred": "If these are scores, pass `sparse_y_pred=False`; give samples without a "
    "class a `sample_weight` of 0.",
}


def are_classes(
    owner: str, labels: Tensor, absent: Tensor, num_classes: int, name: str = "y_true"
) -> Tensor:
    """Return for each label whether it is one of the classes.

    Args:
        owner: Who asks, for the message.
        labels: Class labels.
        absent: Where a label may be anything, as it does not count.
        num_classes: Number of classes.
        name: What the labels are, for the message.

    Raises:
        ValueError: In eager execution, if a label that counts is no class, unless it is
            a NaN in `y_pred`.
    """
    valid = _labels.in_range(owner, labels, num_classes)
    passed = valid | absent
    if name == "y_pred":
        passed = passed | ~are_numbers(labels)
    _labels.check(owner, name, labels, passed, num_classes, _HINTS[name])
    return valid
