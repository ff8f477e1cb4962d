"""What a Keras model is: architecture, outputs and their meaning, losses, rows, copies."""
