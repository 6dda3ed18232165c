"""A filesystem under test: build it, switch its components, mount it, stop it."""
