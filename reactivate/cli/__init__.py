"""What a person types: one file per family of verbs. Parses, calls, prints."""
