"""Tests and intervals as pure functions of numbers: no result rows, no files."""
