"""htcnns: brain tumours segmented by three networks and STAPLE."""
