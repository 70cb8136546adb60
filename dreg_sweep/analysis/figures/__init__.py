"""The figures: each a function from a frame of finished numbers to a matplotlib figure, and `save` to write one.

Numbers come in display units (% or points) and are drawn as they are: no statistic is computed here. Agg and pdf
write files without a display. Import this package late: it imports matplotlib.
"""

from dreg_sweep.analysis.figures.against_rivals import forest, one_dataset, scarcity_curves
from dreg_sweep.analysis.figures.curves import courses, noise_curves
from dreg_sweep.analysis.figures.fits import fitted_curves, fitted_maps
from dreg_sweep.analysis.figures.matrix import heatmap
from dreg_sweep.analysis.figures.off_training import gradients_by_place
from dreg_sweep.analysis.figures.ranks import critical_difference
from dreg_sweep.analysis.figures.scatter import clean_vs_noisy, pressure
from dreg_sweep.analysis.figures.seeds import seed_strip
from dreg_sweep.analysis.figures.sensitivity import sensitivity_curves
from dreg_sweep.analysis.figures.sizes import size_curves
from dreg_sweep.analysis.figures.strengths import strength_curves
from dreg_sweep.analysis.figures.style import save
from dreg_sweep.analysis.figures.variants import NO_DATA, variant_claims

__all__ = [
    "NO_DATA",
    "clean_vs_noisy",
    "courses",
    "critical_difference",
    "fitted_curves",
    "fitted_maps",
    "forest",
    "gradients_by_place",
    "heatmap",
    "noise_curves",
    "one_dataset",
    "pressure",
    "save",
    "scarcity_curves",
    "seed_strip",
    "sensitivity_curves",
    "size_curves",
    "strength_curves",
    "variant_claims",
]
