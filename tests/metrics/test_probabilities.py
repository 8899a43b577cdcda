"""What counts as probabilities, in all metrics that want them."""

import numpy as np
import pytest
from keras import ops

from keras_ext.metrics import BrierScore, ExpectedCalibrationError, Perplexity
from tests.metrics.modes import JIT, result_in_steps

KINDS = [BrierScore, ExpectedCalibrationError, Perplexity]

many = np.full(1000, -1.2e-5)
many[0] = 1 - many[1:].sum()
few = np.full(1000, -0.8e-5)
few[0] = 1 - few[1:].sum()

RIGHT = [[0.3, 0.7], [1.0, 0.0], [0.302, 0.705], [0.3, 0.693], [1.008, -0.008], few]
WRONG = [
    [0.3, 0.72],
    [0.3, 0.68],
    [1.02, -0.02],
    [np.inf, 0.0],
    [np.inf, -np.inf],
    many,
]


@pytest.mark.parametrize("kind", KINDS)
class TestRules:
    @pytest.mark.parametrize("row", RIGHT)
    def test_what_rounding_may_do_is_taken(self, kind, row):
        metric = kind()
        metric.update_state(np.zeros(1, "int32"), np.float32([row]))
        assert np.isfinite(metric.result())

    @pytest.mark.parametrize("row", WRONG)
    def test_other_values_raise_when_eager(self, kind, row):
        with pytest.raises(
            ValueError, match=r"expects probabilities, in .* with sum 1"
        ):
            kind().update_state(np.zeros(1, "int32"), np.float32([row]))

    @pytest.mark.parametrize("jit_compile", JIT)
    @pytest.mark.parametrize("row", WRONG)
    def test_and_are_nan_when_compiled_unless_absent(self, kind, row, jit_compile):
        batch = {
            "y_true": np.zeros(2, "int32"),
            "y_pred": np.float32([row, np.eye(1, len(row))[0]]),
        }
        assert np.isnan(result_in_steps(kind(), [batch], jit_compile))
        batch["sample_weight"] = np.float32([0, 1])
        absent = result_in_steps(kind(), [batch], jit_compile)
        alone = kind()
        alone.update_state(batch["y_true"][1:], batch["y_pred"][1:])
        expected = ops.convert_to_numpy(alone.result())
        np.testing.assert_allclose(absent, expected, atol=1e-6)


def test_the_message_says_what_was_received():
    match = r"BrierScore .* values from 0.5 to inf and sum inf. If the model returns"
    with pytest.raises(ValueError, match=match):
        BrierScore().update_state(np.zeros(1), np.float32([[0.5, np.inf]]))
    with pytest.raises(ValueError, match=r"values from -1 to 2 and sum 1."):
        BrierScore().update_state(np.zeros(1), np.float32([[2, -1]]))
