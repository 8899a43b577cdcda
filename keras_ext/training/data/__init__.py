"""Arrays, datasets and iterables become chunks; knows no callback and no model."""
