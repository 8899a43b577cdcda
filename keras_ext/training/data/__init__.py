"""Turns arrays, datasets and iterables into chunks; knows no callback and no model."""
