"""The doors: arguments in, text and exit code out. Only these rooms speak to people and know a flag's name."""
