"""What file and folder names mean, convention by convention."""
