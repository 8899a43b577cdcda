"""The meaning of batch numbers."""

from typing import Any

import keras


def batches_done(callback: keras.callbacks.Callback, batch: Any) -> int:
    """Return how many batches of the epoch are done after batch `batch`.

    Keras numbers the last call of an epoch past the epoch's end if a call makes several
    steps.
    """
    done = int(batch) + 1
    steps = (callback.params or {}).get("steps")
    return done if steps is None else min(done, steps)
