"""Models: well-known networks, built only from layers of `keras_ext` and Keras."""

from keras_ext.models.efficientnet_b0 import EfficientNetB0
from keras_ext.models.efficientnet_v2_b0 import EfficientNetV2B0
from keras_ext.models.googlenet import GoogLeNet
from keras_ext.models.inception_v3 import InceptionV3
from keras_ext.models.load_applications_weights import load_applications_weights
from keras_ext.models.mobilenet_v2 import MobileNetV2
from keras_ext.models.mobilenet_v3 import MobileNetV3Large, MobileNetV3Small

__all__ = [
    "EfficientNetB0",
    "EfficientNetV2B0",
    "GoogLeNet",
    "InceptionV3",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "load_applications_weights",
]
