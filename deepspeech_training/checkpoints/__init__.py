"""Files and folders of checkpoints, and what is done with the weights in them."""
