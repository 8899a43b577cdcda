"""A Keras model whose training step is designed to be overridden."""
