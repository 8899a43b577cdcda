"""Conditional random field: tags of a sequence that depend on their neighbors."""

import keras
from keras import ops

from keras_ext import _checks, _linear_chain
from keras_ext._types import Config, Initializer, Shape, Tensor
from keras_ext.layers._options import fresh_initializer


@keras.saving.register_keras_serializable(package="keras_ext")
class CRF(keras.layers.Layer):
    """Turns scores of single tags into potentials of a linear-chain random field.

    For tagging sequences where one tag carries information about the next, such as
    named entities: the layer learns a score for every pair of neighboring tags, and
    whole sequences of tags are compared instead of single tags. Place it after a
    `Dense` layer without activation, train the model with
    `keras_ext.losses.CRFNegativeLogLikelihood`, and read the best sequence with
    `keras_ext.layers.ViterbiDecoder`. With emissions `e`, the potential of tag `j` at
    step `t` after tag `i` is

    `output[t, i, j] = transitions[i, j] + e[t, j]`

    At the first step, `start[j]` replaces `transitions[i, j]` for every `i`; at the
    last step, `end[j]` is added. The score of a sequence is the sum of its potentials.

    Reference: J. Lafferty, A. McCallum, F. Pereira, "Conditional Random Fields:
    Probabilistic Models for Segmenting and Labeling Sequence Data", 2001; G. Lample,
    M. Ballesteros, S. Subramanian, K. Kawakami, C. Dyer, "Neural Architectures for
    Named Entity Recognition", 2016, https://arxiv.org/abs/1603.01360.

    Args:
        num_tags: Positive integer. Number of tags.
        use_boundary: Whether sequences have scores for their first and last tag.
            Default: `True`.
        transition_initializer: Initializer of the scores of pairs. Default:
            `"glorot_uniform"`.
        boundary_initializer: Initializer of the scores of the first and of the last
            tag. Default: `"zeros"`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, the emissions: a score for every tag at every step.
        mask: Boolean tensor `(batch, time)`, false at the steps to leave out. Default:
            `None`, which means the mask that Keras passes on, such as that of
            `keras.layers.Embedding(mask_zero=True)`, or no mask.

    Input shape:
        `(batch, time, tags)`.

    Output shape:
        `(batch, time, tags, tags)`.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 3 or its last axis is not of size `num_tags`; on call, if the mask is
            not of shape `(batch, time)`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.layers import CRF, ViterbiDecoder
    >>> from keras_ext.losses import CRFNegativeLogLikelihood
    >>> words = keras.Input((None,), dtype="int32")
    >>> x = keras.layers.Embedding(20, 8, mask_zero=True)(words)
    >>> x = keras.layers.LSTM(8, return_sequences=True)(x)
    >>> potentials = CRF(3)(keras.layers.Dense(3)(x))
    >>> model = keras.Model(words, potentials)
    >>> model.compile("adam", loss=CRFNegativeLogLikelihood())
    >>> sentences = np.array([[5, 3, 9, 0], [7, 0, 0, 0]], "int32")
    >>> tags = np.array([[0, 2, 1, 0], [1, 0, 0, 0]], "int32")
    >>> history = model.fit(sentences, tags, verbose=0)
    >>> tagger = keras.Model(words, ViterbiDecoder()(potentials))
    >>> tagger.predict(sentences, verbose=0).shape
    (2, 4)

    A mask may have gaps anywhere. A masked step is left out of the chain, which
    continues after it as if it were not there; in the potentials it is 0 on the
    diagonal and -32768 elsewhere. The loss and the decoder read the mask from there, so
    the output has none. A whole sequence may be masked.

    The potentials occupy memory for `batch * time * tags^2` numbers. Metrics such as
    accuracy need the tags: give the model a second output, `ViterbiDecoder` after this
    layer, and leave out masked steps with that output's `sample_weight`. In half
    precision the potentials are rounded, and scores below -32768 may be lost; under the
    policy `"mixed_float16"` give the layer `dtype="float32"`. The loss and the decoder
    compute in float32. If the score of the true tags is -inf, the loss is NaN.
    """

    def __init__(
        self,
        num_tags: int,
        *,
        use_boundary: bool = True,
        transition_initializer: Initializer = "glorot_uniform",
        boundary_initializer: Initializer = "zeros",
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.num_tags = _checks.positive_int("num_tags", num_tags)
        self.use_boundary = _checks.one_of("use_boundary", use_boundary, (True, False))
        self.transition_initializer = keras.initializers.get(transition_initializer)
        self.boundary_initializer = keras.initializers.get(boundary_initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Create the scores of pairs, of the first tag and of the last tag."""
        tags = self.num_tags
        _checks.rank(self.name, input_shape, 3, "(batch, time, tags)")
        if input_shape[-1] != tags:
            raise ValueError(
                f"{self.name} expects a score for each of its {tags} tags: shape "
                f"(batch, time, {tags}). Received: shape={tuple(input_shape)}. Place "
                f"`keras.layers.Dense({tags})` before it."
            )
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: tags})
        self.transitions = self.add_weight(
            shape=(tags, tags),
            initializer=self.transition_initializer,
            name="transitions",
        )
        if self.use_boundary:
            self.start, self.end = self._boundary("start"), self._boundary("end")

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the potentials of `inputs`."""
        kept = self._kept(inputs, mask)
        count = ops.cumsum(ops.cast(kept, "int32"), axis=1)
        first, last = kept & (count == 1), kept & (count == count[:, -1:])
        emissions = inputs
        if self.use_boundary:
            # Not `first[..., None]`, for which LiteRT has no operation if the length is
            # not known.
            first_tag, last_tag = ops.expand_dims(first, -1), ops.expand_dims(last, -1)
            emissions = emissions + ops.where(first_tag, self.start.value, 0)
            emissions = emissions + ops.where(last_tag, self.end.value, 0)
        pairs = ops.where(ops.expand_dims(first, (-2, -1)), 0, self.transitions.value)
        potentials = pairs + ops.expand_dims(emissions, -2)
        masked_step = _linear_chain.masked_step(self.num_tags, self.compute_dtype)
        return ops.where(ops.expand_dims(kept, (-2, -1)), potentials, masked_step)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None) -> None:
        """Return `None`: the mask is in the potentials."""
        return None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the potentials."""
        return (*input_shape, self.num_tags)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "num_tags": self.num_tags,
            "use_boundary": self.use_boundary,
            "transition_initializer": serialize(self.transition_initializer),
            "boundary_initializer": serialize(self.boundary_initializer),
        }

    def _boundary(self, name: str) -> keras.Variable:
        return self.add_weight(
            shape=(self.num_tags,),
            initializer=fresh_initializer(self.boundary_initializer),
            name=name,
        )

    def _kept(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return ops.ones_like(inputs[..., 0], dtype="bool")
        mask = ops.convert_to_tensor(mask)
        if not _checks.shapes_agree(mask.shape, inputs.shape[:2]):
            raise ValueError(
                f"{self.name} expects a mask of shape (batch, time), for inputs of "
                f"shape {tuple(inputs.shape)}. Received: mask.shape={tuple(mask.shape)}"
            )
        return ops.cast(mask, "bool")
