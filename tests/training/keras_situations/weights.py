"""Situations of weights that are saved, loaded, taken and set."""

import os

import keras

from tests.training.keras_situations.objects import Own, drawn, fitted, state
from tests.training.keras_situations.parts import dense
from tests.training.keras_situations.table import (
    refused,
    situation,
    warned,
)


def _weights(make, trained, name="m.weights.h5"):
    path = str(make.folder / name)
    trained.save_weights(path)
    return path


@situation()
def weights_saved_and_loaded(make):
    """`save_weights` and `load_weights` of a trained object."""
    path = _weights(make, make(drawn()))
    fresh = make(drawn())
    fresh.load_weights(path)
    return fresh.get_weights()


@situation()
def weights_in_several_files(make):
    """`max_shard_size`."""
    trained, path = make(drawn()), str(make.folder / "m.weights.json")
    trained.save_weights(path, max_shard_size=1)
    fresh = make(drawn())
    fresh.load_weights(path)
    return len(os.listdir(make.folder)), fresh.get_weights()


@situation()
def weights_of_a_whole_file(make):
    """`load_weights` of a `.keras` file."""
    path = str(make.folder / "m.keras")
    make(drawn()).save(path)
    fresh = make(drawn())
    fresh.load_weights(path)
    return fresh.get_weights()


@situation()
def weights_by_functions(make):
    """`keras.saving.save_weights` and `load_weights`."""
    path = str(make.folder / "m.weights.h5")
    keras.saving.save_weights(make(drawn()), path)
    fresh = make(drawn())
    keras.saving.load_weights(fresh, path)
    return fresh.get_weights()


@situation()
def weights_between_stock_and_trained(make):
    """Files of the bare model and of the trained object, each loaded by the other."""
    trained, bare = make(drawn()), drawn()
    bare.load_weights(_weights(make, trained))
    fresh = make(drawn())
    fresh.load_weights(_weights(make, bare, "n.weights.h5"))
    return bare.get_weights(), fresh.get_weights()


@situation()
def whole_files_between_stock_and_trained(make):
    """`.keras` files of the one, whose weights are loaded by the other."""
    trained, bare = make(drawn()), drawn()
    trained.save(str(make.folder / "a.keras"))
    bare.load_weights(str(make.folder / "a.keras"))
    bare.save(str(make.folder / "b.keras"))
    fresh = make(drawn())
    fresh.load_weights(str(make.folder / "b.keras"))
    return bare.get_weights(), fresh.get_weights()


@situation()
def weights_of_another_shape(make):
    """Weights that do not fit are refused, or left out with `skip_mismatch`."""
    path = _weights(make, make(dense(2)))
    other = make(dense(3))
    before = other.get_weights()
    _, warns = warned(lambda: other.load_weights(path, skip_mismatch=True))
    return refused(lambda: other.load_weights(path)), warns, before, other.get_weights()


@situation()
def weights_before_it_is_built(make):
    """Weights of a model that has none yet."""
    path = _weights(make, make(dense()))
    unbuilt = make(Own())
    return [
        refused(lambda: unbuilt.save_weights(str(make.folder / "n.weights.h5"))),
        refused(lambda: unbuilt.load_weights(path)),
    ]


@situation()
def layers_left_out(make):
    """`objects_to_skip` of `save_weights` and `load_weights`."""
    model, fresh_model = drawn(), drawn()
    path = str(make.folder / "m.weights.h5")
    trained, fresh = make(model), make(fresh_model)
    trained.set_weights([2 * weight for weight in trained.get_weights()])
    trained.save_weights(path)
    fresh.load_weights(path, objects_to_skip=[fresh_model.layers[1]])
    return fresh.get_weights()


@situation()
def weights_taken_and_set(make):
    """`get_weights` and `set_weights`."""
    trained = make(drawn())
    fresh = make(drawn())
    fresh.set_weights(trained.get_weights())
    return fresh.get_weights()


@situation()
def the_state_as_a_tree(make):
    """`get_state_tree`, set into another object of the same kind."""
    trained = fitted(make)
    tree = trained.get_state_tree(value_format="numpy_array")
    fresh = fitted(make, epochs=1)
    fresh.set_state_tree(tree)
    return state(fresh)
