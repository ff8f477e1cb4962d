"""What all rooms share: errors, messages, targets, MultiInput, files, progress."""
