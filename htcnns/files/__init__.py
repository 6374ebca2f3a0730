"""The disk, and nothing else touches it."""
