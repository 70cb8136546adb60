"""Counts along the noise ladder: the short way through the first layer against every severity by itself."""

import numpy as np
import pytest

from dreg_sweep.evaluate import test_counts as counts_of_tests
from dreg_sweep.probe import looks_off_training
from tests.engine import ArraySplit, double_stack, random_split
from tests.networks import lenet

SEVERITIES = (0.25, 1.0, 3.0)


class NoisySplit(ArraySplit):
    """Severity i adds SEVERITIES[i] times a fixed field."""

    asked = 0

    def field(self):
        return np.random.default_rng(5).normal(size=self.x_eval.shape).astype(np.float32)

    def eval_rows(self, severity, start, stop):
        noise = 0.0 if severity is None else np.float32(SEVERITIES[severity]) * self.field()[start:stop]
        return self.x_eval[start:stop] + noise

    def noise_rows(self, start, stop):
        type(self).asked += 1
        return self.field()[start:stop]


def noisy(plain, **changed):
    """The plain split with noise."""
    parts = (plain.x_train, plain.y_train, plain.x_eval, plain.y_eval, plain.n_outputs)
    return NoisySplit(*parts, severities=SEVERITIES, **changed)


@pytest.mark.parametrize("regularizer", ["none", "spectral_norm"])  # which scales the first layer
def test_two_products_serve_the_whole_ladder(regularizer, monkeypatch):
    splits = [noisy(random_split(seed, n_eval=1100)) for seed in (0, 1, 0)]
    stack, _, _ = double_stack(regularizer, "tanh", shape=(7,))
    stack.parameters = {name: value.detach().float() for name, value in stack.parameters.items()}
    stack.singular = {name: (u.float(), v.float()) for name, (u, v) in stack.singular.items()}
    for method in stack.methods:
        object.__setattr__(method, "strength", method.strength.float())
    NoisySplit.asked = 0
    short = counts_of_tests(stack, splits)
    assert NoisySplit.asked == 3  # chunks of 512 rows
    monkeypatch.setattr(NoisySplit, "noise_rows", lambda self, start, stop: None)
    plain = counts_of_tests(stack, splits)
    assert len(short) == len(plain) == 1 + len(SEVERITIES)
    for ours, theirs in zip(short, plain, strict=True):
        np.testing.assert_array_equal(ours.correct, theirs.correct)
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-5)
    assert len({tuple(counts.loss) for counts in short}) == 1 + len(SEVERITIES)  # the severities do differ


def test_a_convolution_takes_every_severity_by_itself():
    split = noisy(random_split(0, n_eval=40, features=64))
    stack, _, _ = double_stack("none", network=lenet(shape=(1, 8, 8)), size=2, shape=(1, 8, 8))
    stack.parameters = {name: value.detach().float() for name, value in stack.parameters.items()}
    losses = [counts.loss for counts in counts_of_tests(stack, [split, split])]
    assert len({tuple(loss) for loss in losses}) == 1 + len(SEVERITIES)


def test_looks_off_the_training_rows_take_a_small_share_of_the_training():
    assert looks_off_training(600) == 2  # the least
    assert looks_off_training(100_000) == 5  # 5 % of three passes over 100,000 rows, 3,000 rows a look
    assert looks_off_training(600_000) == 10  # the most
