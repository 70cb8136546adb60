"""Golden rows: the numbers of some sixty cells of two steps each, by which a change of numbers is noticed.

`python -m tests.golden` compares them with the code as it is, and `--write` stores them anew. See docs/extending.md.
"""
