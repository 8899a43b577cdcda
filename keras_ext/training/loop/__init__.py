"""Callbacks, progress and History around any step; knows no Trainer."""
