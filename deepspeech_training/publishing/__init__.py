"""An exported model -> a folder that others can use: the repository of a model for the Hugging Face hub, or a Space."""
