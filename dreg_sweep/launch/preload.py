"""What the server process imports and warms up once, so that no worker forked from it has to."""

import sklearn.datasets  # 1 s; digits and the encoding of texts need it
import sklearn.decomposition
import sklearn.feature_extraction.text  # noqa: F401

import dreg_sweep.launch.worker  # noqa: F401
