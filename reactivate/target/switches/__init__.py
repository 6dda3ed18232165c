"""The ways to switch a component of a target: one module each, behind one contract."""
