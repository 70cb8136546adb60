"""The benchmarks that `python scripts/bench.py` runs, one module each.

`import bench` means this package, there too: Python looks for a package before it looks for a module.
"""
