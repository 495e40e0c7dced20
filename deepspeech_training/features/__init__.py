"""Waveforms -> MFCC: the geometry, the constants, and the same function in keras.ops and in numpy."""
