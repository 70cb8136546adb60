"""The sentences of an abstract as data, and what the results say to each."""
