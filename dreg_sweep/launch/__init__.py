"""Running a plan: slots on this machine, progress, and the end of a sweep."""
