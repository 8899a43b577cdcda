"""Slow NumPy transcriptions of the papers, which the tests compare against.

Nothing here imports Keras or `keras_ext`: every module computes in float64 with
explicit loops, straight from the formulas, and shares no code with the library.
"""
