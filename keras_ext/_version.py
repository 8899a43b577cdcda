"""The version, here so that any module can say it."""

__version__ = "0.1.0.dev0"
