"""TensorFlow's limit for images channels first on a CPU, with what to do about it."""

import re

import tensorflow as tf

REFUSED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""What TensorFlow raises for an operation that it has channels last only."""

_LIMIT = re.compile(r"[^\n}]*\bonly support(?:s|ed) [^\n\[]*\bND?HWC\b[^\n\[]*")


def explain(error: Exception, step: str) -> None:
    """Raise an explanation if `error` is about the place of the channels.

    Args:
        error: What TensorFlow raised.
        step: The name of the step that it raised it for.

    Raises:
        RuntimeError: If an operation is there for images channels last only.
    """
    limit = _LIMIT.search(str(error))
    if not limit:
        return
    raise RuntimeError(
        f"`{step}` has an operation on images channels first that TensorFlow does not "
        f"have on this CPU. Expected: channels last. Received: {limit[0].strip()!r}. "
        "Make the model with `data_format='channels_last'`, or do one of these: "
        "`compile(..., jit_compile=True)`, since XLA has the operation; "
        "TF_ENABLE_ONEDNN_OPTS=1 in the environment, before TensorFlow is imported, "
        "since oneDNN has most of them (TensorFlow leaves it off on a CPU without "
        "AVX-512); a GPU; `keras.Model` on JAX."
    ) from error
