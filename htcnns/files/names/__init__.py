"""What file and folder names say, convention by convention."""
