"""What trained models are worth: figures, their intervals, and the verdict."""
