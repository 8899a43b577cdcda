"""A step, compiled for one batch or many; knows no Trainer."""
