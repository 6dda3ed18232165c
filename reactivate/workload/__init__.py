"""What is done to the mount while instruments look."""
