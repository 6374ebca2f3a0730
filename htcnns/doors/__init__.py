"""The user interfaces: arguments in, text and exit code out. Only these modules print and know a flag's name."""
