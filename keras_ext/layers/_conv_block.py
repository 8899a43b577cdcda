"""What the blocks that are made of `ConvNormAct` have in common."""

from typing import Any

from keras_ext.layers._conv_options import ConvOptions
from keras_ext.layers._options import fresh_initializer, sublayer_options
from keras_ext.layers.conv_norm_act import ConvNormAct


class ConvBlock(ConvOptions):
    """A block that hands the options of its convolutions down to them."""

    def _conv(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 1,
        **options: Any,
    ) -> ConvNormAct:
        """Return a convolution with the block's options, or with other `options`."""
        shared = {
            "activation": self.activation,
            "normalization": self.normalization,
            "data_format": self.data_format,
            "kernel_initializer": fresh_initializer(self.kernel_initializer),
            "kernel_regularizer": self.kernel_regularizer,
            **sublayer_options(self),
        }
        return ConvNormAct(filters, kernel_size, **{**shared, **options})
