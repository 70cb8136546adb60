"""dreg_sweep: factorial sweeps over regularizers, trained in stacks, stored as parquet, analysed honestly."""

__version__ = "0.1.0"
