"""The networks in PyTorch, up to their logit."""

import itertools

import timing
from torch import nn


def thesis():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6272, 128), nn.ReLU(), nn.Linear(128, 1),
    )


def wide():
    def stage(channels, filters):
        for before in (channels, filters):
            yield from (nn.Conv2d(before, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU())
        yield nn.MaxPool2d(2)

    stages = itertools.chain.from_iterable(itertools.starmap(stage, [(3, 32), (32, 64), (64, 128)]))
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 1))


def network(name):
    made = {"thesis": thesis, "wide": wide}[name]()
    assert sum(p.numel() for p in made.parameters()) == timing.PARAMETERS[name]
    return made
