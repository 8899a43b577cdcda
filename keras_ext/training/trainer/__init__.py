"""A Keras model whose training step is there to be overridden."""
