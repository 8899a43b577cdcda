"""Serve a SavedModel over HTTP, by the protocols of TensorFlow Serving and KServe.

`trainer.export("digits/1")` writes a SavedModel; serving it needs no keras_ext. It
answers `POST /v1/models/NAME:predict` with `{"instances": [...]}`, as TensorFlow
Serving does, and `POST /v2/models/NAME/infer`, the Open Inference Protocol.
`GET /v2/health/ready` says whether the model is loaded.
"""

import argparse
import pathlib
import socket
import uuid
from typing import Any

import numpy as np
import tensorflow as tf
from kserve import InferRequest, Model, ModelRepository
from kserve.errors import InvalidInput
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from kserve.utils.utils import get_predict_input, get_predict_response


class SavedModel(Model):
    """A model whose signature `serving_default` has one input and one output."""

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        super().__init__(name)
        self.folder = folder

    def load(self) -> bool:
        """Load the model; its variables live as long as `self.artifact`."""
        self.artifact = tf.saved_model.load(str(self.folder))
        self.signature = self.artifact.signatures["serving_default"]
        self.ready = True
        return True

    def predict(
        self, payload: Any, headers: Any = None, response_headers: Any = None
    ) -> Any:
        """Answer a request of either protocol."""
        if isinstance(payload, InferRequest) and payload.id is None:
            payload.id = str(uuid.uuid4())  # of the answer
        ((name, spec),) = self.signature.structured_input_signature[1].items()
        try:
            x = np.asarray(get_predict_input(payload), spec.dtype.as_numpy_dtype)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"Expected {spec}. Received: {error!r}") from error
        # TensorFlow does not look, and a wrong shape can end the whole process.
        if not spec.shape.is_compatible_with(x.shape):
            raise InvalidInput(f"Expected shape {spec.shape}. Received: {x.shape}")
        (y,) = self.signature(**{name: tf.constant(x)}).values()
        return get_predict_response(payload, y.numpy(), self.name)


def main() -> None:
    """Load the model, print the address, and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="what `export` wrote")
    parser.add_argument("--name", default="model", help="of the model, in addresses")
    # A container that is reached from elsewhere listens on 0.0.0.0.
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501, help="0 takes a free one")
    arguments = parser.parse_args()

    repository = ModelRepository()
    model = SavedModel(arguments.name, arguments.folder)
    model.load()
    repository.update(model)
    with socket.create_server((arguments.host, arguments.port)) as server:
        host, port = server.getsockname()
        print(f"http://{host}:{port}/v1/models/{arguments.name}:predict", flush=True)
        RESTServer(
            "kserve.model_server:app",
            DataPlane(repository),
            ModelRepositoryExtension(repository),
            http_port=port,
        ).run(sockets=[server])


if __name__ == "__main__":
    main()
