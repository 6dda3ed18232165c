"""One passage through a checklist: the state machine, its steps, and who may do what when."""
