"""What several families of converters need."""
