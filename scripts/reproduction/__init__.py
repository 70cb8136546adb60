"""Whether a sweep that was run again says what the published one says."""
