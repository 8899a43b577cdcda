"""TensorFlow's limit for images channels first on a CPU, with what to do about it."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

_LIMIT = re.compile(r"[^\n}]*\bonly support(?:s|ed) [^\n\[]*\bND?HWC\b[^\n\[]*")


@contextlib.contextmanager
def explained(step: str) -> Iterator[None]:
    """Explain an error that is about the place of the channels.

    Args:
        step: The name of the step that is made.

    Raises:
        RuntimeError: If an operation is there for images channels last only.
    """
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        limit = _LIMIT.search(str(error))
        if not limit:
            raise
        raise RuntimeError(
            f"`{step}` has an operation on images channels first that TensorFlow does "
            "not have on this CPU. Expected: channels last. Received: "
            f"{limit[0].strip()!r}. Make the model with "
            "`data_format='channels_last'`, or do one of these: "
            "`compile(..., jit_compile=True)`, since XLA has the operation; "
            "TF_ENABLE_ONEDNN_OPTS=1 in the environment, before TensorFlow is "
            "imported, since oneDNN has most of them (TensorFlow leaves it off on a "
            "CPU without AVX-512); a GPU; `keras.Model` on JAX."
        ) from error
