"""Result rows from disk, and which of them an analysis is about."""
