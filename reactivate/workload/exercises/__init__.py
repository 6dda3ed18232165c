"""What a scenario can do to a mount: a few lines of data choose one and its numbers."""
