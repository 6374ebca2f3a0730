"""What the challenges compute of a prediction and a truth."""
