"""Trains the thesis' network for five steps in PyTorch (float64) and writes what came out to thesis.json.

Run:  pip install torch numpy && python tests/parity/generate.py
The weights and pictures come from a hash of their index, so that no large file is needed: tests/parity.rs
makes the same ones.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

STEPS, BATCH = 5, 8
torch.set_default_dtype(torch.float64)


def uniform(stream, count):
    """`count` numbers in [0, 1): SplitMix64 of stream * 2**32 + index."""
    with np.errstate(over="ignore"):
        z = np.uint64(stream << 32) + np.arange(count, dtype=np.uint64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53


# Names and shapes as in Tapetum: [KH, KW, C, F] and [D, F].
SHAPES = {
    "conv2d_1.weight": (3, 3, 3, 32),
    "conv2d_1.bias": (32,),
    "conv2d_2.weight": (3, 3, 32, 32),
    "conv2d_2.bias": (32,),
    "dense_1.weight": (6272, 128),
    "dense_1.bias": (128,),
    "dense_2.weight": (128, 1),
    "dense_2.bias": (1,),
}


def parameter(stream, shape):
    fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 100
    limit = (3.0 / fan_in) ** 0.5
    values = (2.0 * uniform(stream, int(np.prod(shape))) - 1.0) * limit
    return torch.tensor(values.reshape(shape), requires_grad=True)


params = {name: parameter(stream, shape) for stream, (name, shape) in enumerate(SHAPES.items(), 1)}
x = torch.tensor(uniform(100, BATCH * 64 * 64 * 3).reshape(BATCH, 64, 64, 3)).permute(0, 3, 1, 2)
y = torch.tensor([[n % 2] for n in range(BATCH)], dtype=torch.float64)
adam = torch.optim.Adam(params.values(), lr=1e-3, eps=1e-7)


def forward():
    h = x
    for layer in ("conv2d_1", "conv2d_2"):
        h = F.conv2d(h, params[f"{layer}.weight"].permute(3, 2, 0, 1), params[f"{layer}.bias"])
        h = F.max_pool2d(F.relu(h), 2)
    h = h.permute(0, 2, 3, 1).flatten(1)
    h = F.relu(h @ params["dense_1.weight"] + params["dense_1.bias"])
    return h @ params["dense_2.weight"] + params["dense_2.bias"]


losses = []
for _ in range(STEPS):
    adam.zero_grad()
    loss = F.binary_cross_entropy_with_logits(forward(), y)
    loss.backward()
    adam.step()
    losses.append(loss.item())


def fingerprint(stream, p):
    """Sums over all entries, and eight entries drawn by the hash: a sum does not see two entries exchanged."""
    flat = p.detach().numpy().ravel()
    drawn = flat[(uniform(200 + stream, 8) * flat.size).astype(np.int64)]
    sums = {"sum": flat.sum(), "squares": (flat**2).sum(), "largest": abs(flat).max()}
    return {**sums, "last": flat[-1], "entries": drawn.tolist()}


result = {
    "torch": torch.__version__.split("+")[0],
    "losses": losses,
    "parameters": {name: fingerprint(stream, p) for stream, (name, p) in enumerate(params.items(), 1)},
}
path = pathlib.Path(__file__).with_name("thesis.json")
path.write_text(json.dumps(result, indent=1) + "\n")
