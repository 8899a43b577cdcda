"""A run is saved, and continued from what was saved; knows no Trainer."""
