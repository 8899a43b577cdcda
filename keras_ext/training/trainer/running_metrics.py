"""What the metrics of a model count: batches of training, or of another pass."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import keras

from keras_ext.training.loop.logs import kept


class RunningMetrics:
    """Keeps the running values of training across other passes over data.

    Args:
        model: The model whose metrics they are.

    Attributes:
        counted: What they have counted batches of since they were reset: of
            `"training"`, of another `"pass"`, or of nothing yet.
        tracks_loss: Whether the metric `loss` counts what the steps log as `loss`.
    """

    def __init__(self, model: keras.Model) -> None:
        self.counted: Literal["training", "pass"] | None = None
        self.tracks_loss = False
        self._model = model

    def results(self) -> dict[str, Any]:
        """Return the running values that steps log."""
        results: dict[str, Any] = self._model.get_metrics_result()
        if not self.tracks_loss:
            # The value logged under this name is not the metric.
            results.pop("loss", None)
        return results

    def begin_step(self) -> None:
        """Let the metrics count batches of training, and of nothing else."""
        if self.counted == "pass":
            self._model.reset_metrics()
        self.counted = "training"

    @contextlib.contextmanager
    def another_pass(self) -> Iterator[None]:
        """Let the metrics of training continue after another pass where they are now.

        Otherwise they may be read as the pass leaves them, until they are reset.
        """
        # There is no training to protect: as in Keras, the values of the pass remain.
        if self.counted != "training":
            try:
                yield
            finally:
                self.counted = "pass"
            return
        try:
            with kept(self._model):
                yield
        finally:
            # The pass has reset the metrics, and this with them.
            self.counted = "training"
