"""The losses that compete, the models that train under them, and how each is tuned."""
