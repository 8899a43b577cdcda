"""TensorFlow's limitation for channels-first images on a CPU, and what to do."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

_LIMIT = re.compile(r"[^\n}]*\bonly support(?:s|ed) [^\n\[]*\bND?HWC\b[^\n\[]*")


@contextlib.contextmanager
def explained(step: str) -> Iterator[None]:
    """Explain an error about the position of the channels.

    Args:
        step: Name of the step.

    Raises:
        RuntimeError: If an operation is available only for channels-last images.
    """
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        limit = _LIMIT.search(str(error))
        if not limit:
            raise
        raise RuntimeError(
            f"`{step}` has an operation on channels-first images that TensorFlow does "
            "not support on this CPU. Expected: channels last. Received: "
            f"{limit[0].strip()!r}. Create the model with "
            "`data_format='channels_last'`, or use one of these: "
            "`compile(..., jit_compile=True)`, since XLA supports the operation; "
            "TF_ENABLE_ONEDNN_OPTS=1 in the environment, before TensorFlow is "
            "imported, since oneDNN supports most of them (TensorFlow leaves it off on "
            "a CPU without AVX-512); a GPU; `keras.Model` on JAX."
        ) from error
