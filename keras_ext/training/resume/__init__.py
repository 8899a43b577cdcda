"""Saves a run and continues it from there; knows no Trainer."""
