"""Methods that act on activations and outputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dreg_sweep.models.trace import Trace


def dropout(shape: tuple[int, int, int], strength: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
    """Inverted dropout on hidden units: a mask (S, B, H) of 0 and 1/(1-p), p = strength, one stream a cell.

    Which layers it masks is the model's: all hidden ones of an MLP, the last one of LeNet and ResNet.
    p is rounded to a multiple of 2^-16, the grain of the random bits. Source: Srivastava et al. 2014, section 4;
    default p = 0.5 for hidden units as there (section 7; inputs are not dropped here).
    """
    cells, samples, units = shape
    bits = torch.empty((cells, -(-samples * units // 4)), dtype=torch.int64, device=strength.device)
    for row, stream in zip(bits, streams, strict=True):
        row.random_(-(2**63), None, generator=stream)
    draws = bits.view(torch.int16)[:, : samples * units].unflatten(1, (samples, units))  # uniform on [-2^15, 2^15)
    thresholds = ((strength.double() * 2**16).round() - 2**15).to(torch.int16)
    kept = torch.empty(shape, device=strength.device)
    torch.ge(draws, thresholds[:, None, None], out=kept)
    return kept * (1.0 / (1.0 - strength))[:, None, None]


def confidence_penalty(trace: Trace) -> Tensor:
    """Negative entropy of the predictions, mean_b Σ_k p_{b,k} log p_{b,k} in nats, shape (S,); at most 0.

    Source: Pereyra et al. 2017; Varga et al. 2017 sum over the batch where this is the mean, so that their λ
    corresponds to batch size × λ here: the default 0.5 is their 0.01 at batches of 50 (MNIST).
    """
    log_p = trace.logits.log_softmax(2)
    return (log_p.exp() * log_p).sum(2).mean(1)
