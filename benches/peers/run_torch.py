"""PyTorch: a training step or a prediction. The settings are the layout of the pictures, and `compiled`."""

import timing

arguments = timing.arguments(["nchw", "channels_last", "compiled"])

import torch
from torch import nn

import torch_networks

torch.set_num_threads(arguments.threads)
torch.set_flush_denormal(True)
torch.manual_seed(1)


def laid_out(what):
    return what if arguments.setting == "nchw" else what.to(memory_format=torch.channels_last)


def network():
    return laid_out(torch_networks.network(arguments.network))


def train(x, y, **adam):
    model = network().train()
    loss_of = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), **adam)

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return timing.measure(step, arguments.seconds)


def infer(x):
    model = nn.Sequential(network(), nn.Sigmoid()).eval()
    if arguments.setting == "compiled":
        from torch._inductor import config

        config.freezing = True
        model = torch.compile(model)
    with torch.inference_mode():
        return timing.measure(lambda: model(x), arguments.seconds)


x, y = (torch.from_numpy(array) for array in timing.pictures(arguments.batch, channels_first=True))
x = laid_out(x)
if arguments.kind == "infer":
    timing.answer(torch.__version__, infer(x))
else:
    # Adam in both of its forms, each for the whole time; the faster one counts.
    adams = {"Adam's default form": {}, "fused Adam": {"fused": True}}
    note, times = min(((note, train(x, y, **adam)) for note, adam in adams.items()), key=lambda of: of[1]["min_ms"])
    timing.answer(torch.__version__, times, note)
