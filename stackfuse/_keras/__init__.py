"""What a Keras model is: its architecture, outputs and their meaning, losses, rows, copies, loading."""
