"""One training as a script of its own: Hydra, nn.Module, DataLoader, torch.optim. It knows nothing of dreg_sweep.

    python train.py -m data=/path/to/mnist.npz regularizer=none,dreg seed=0,1,2 hydra/launcher=joblib

The same recipe as this project's cells, and what a row of theirs says about accuracy. Where the two differ is what
a script does because it is simpler: the subset is drawn at random, not class-stratified; an incomplete last batch
of an epoch is left out, not filled from the next epoch; weight decay shrinks biases, too.
"""

import json
import math
from pathlib import Path

import hydra
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

ACTIVATIONS = {"relu": nn.ReLU(), "gelu": nn.GELU()}


class MLP(nn.Module):
    """Fully connected; returns the logits and the pre-activations of the hidden layers."""

    def __init__(self, n_inputs: int, widths: list[int], n_classes: int, activation: str) -> None:
        super().__init__()
        sizes = [n_inputs, *widths]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, widths, strict=False))
        self.output = nn.Linear(sizes[-1], n_classes)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        preactivations = []
        for layer in self.hidden:
            preactivations.append(layer(x))
            x = self.activation(preactivations[-1])
        return self.output(x), preactivations


def slope(z: Tensor, activation: str) -> Tensor:
    """The derivative of the activation at z."""
    if activation == "relu":
        return (z > 0).float()
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * density


def penalty(config: DictConfig, model: MLP, x: Tensor, losses: Tensor, preactivations: list[Tensor]) -> Tensor:
    """The mean squared norm of each row's input gradient, or of its layers' Jacobians."""
    if config.regularizer == "igpen":
        (gradient,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
        return gradient.square().sum(1).mean()
    total = torch.zeros(())
    for layer, z in zip(model.hidden, preactivations, strict=True):
        norms = layer.weight.square().sum(1)  # of the weights into each unit
        total = total + (slope(z, config.activation).square() * norms).sum(1).mean()
    return total


def load(config: DictConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A random subset of the training images, flat, and all test images, standardized by the subset."""
    with np.load(config.data) as arrays:
        x_train, y_train, x_test, y_test = (
            torch.from_numpy(arrays[name]) for name in ("x_train", "y_train", "x_test", "y_test")
        )
    chosen = torch.randperm(len(x_train))[: config.train_size]
    x_train, y_train = x_train[chosen].flatten(1).float(), y_train[chosen]
    mean, deviation = x_train.mean(), x_train.std()
    return (x_train - mean) / deviation, y_train, (x_test.flatten(1).float() - mean) / deviation, y_test


def train(config: DictConfig, model: MLP, x: Tensor, y: Tensor) -> None:
    batch_size = min(config.batch_size, len(x))
    loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True, drop_last=True)
    weight_decay = config.strength.weight_decay if config.regularizer == "weight_decay" else 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=weight_decay)
    steps = config.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    criterion = nn.CrossEntropyLoss(reduction="none")
    model.train()
    for _ in range(config.epochs):
        for batch, labels in loader:
            if config.regularizer == "igpen":
                batch.requires_grad_()
            logits, preactivations = model(batch)
            losses = criterion(logits, labels)
            loss = losses.mean()
            if config.regularizer in ("igpen", "dreg"):
                strength = config.strength[config.regularizer]
                loss = loss + strength * penalty(config, model, batch, losses, preactivations)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: MLP, x: Tensor, y: Tensor) -> float:
    model.eval()
    logits, _ = model(x)
    return (logits.argmax(1) == y).double().mean().item()


@hydra.main(config_path=".", config_name="config", version_base=None)
def main(config: DictConfig) -> None:
    torch.manual_seed(config.seed)
    x_train, y_train, x_test, y_test = load(config)
    model = MLP(x_train.shape[1], list(config.widths), int(y_train.max()) + 1, config.activation)
    train(config, model, x_train, y_train)
    noise = torch.randn(x_test.shape, generator=torch.Generator().manual_seed(0))  # the same for every training
    noisy = [accuracy(model, x_test + sigma * noise, y_test) for sigma in config.noise]
    result = {
        "activation": config.activation,
        "regularizer": config.regularizer,
        "seed": config.seed,
        "clean_accuracy": accuracy(model, x_test, y_test),
        "noisy_accuracy": sum(noisy) / len(noisy) if noisy else None,
        "threads": torch.get_num_threads(),
    }
    (Path(HydraConfig.get().runtime.output_dir) / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
