"""Synthetic heads with gliomas, painted from label maps: images to train on without patients."""
