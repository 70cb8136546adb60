"""What the server process imports once, so that no worker forked from it has to.

Not scikit-learn, which encodes texts: it takes most of a second, and a worker that meets texts it has no features
of imports it by itself, at the same time as the others.
"""

import gc
import importlib

# Imports make objects and leave little to collect: looking for it took 0.25 of 1.3 s. What they made is then set
# apart for good, so that no collection in a worker writes to the pages that all workers share.
gc.disable()
try:
    importlib.import_module("dreg_sweep.launch.worker")
    importlib.import_module("pandas")  # pyarrow does so at its first conversion, a worker's first rows
    gc.freeze()
finally:
    gc.enable()
