"""What people read: decision log, status, analysis."""
