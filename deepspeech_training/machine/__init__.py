"""The machine that a run is on: what there is, what is taken of it, what is wrong with it, how busy it is."""
