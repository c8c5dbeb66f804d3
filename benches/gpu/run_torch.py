"""PyTorch on a GPU: a training step of one network, at one batch size and precision, in one form and both layouts."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "peers"))

import timing
import torch
import torch_networks
from torch import nn

# A chunk of steps between two events takes some milliseconds: then the events themselves cost nothing.
CHUNK_MS = 20
LAYOUTS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=timing.PARAMETERS)
    parser.add_argument("batch", type=int)
    parser.add_argument("precision", choices=["fp32", "tf32"])
    parser.add_argument("form", choices=FORMS)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = arguments.precision == "tf32"
    torch.set_float32_matmul_precision("high" if arguments.precision == "tf32" else "highest")
    found = {layout: measured(arguments, layout) for layout in LAYOUTS}
    # Each for the whole time; the faster one counts.
    layout = min(found, key=lambda layout: found[layout]["min_ms"])
    timing.answer(torch.__version__, found[layout], layout)


def measured(arguments, layout):
    torch.manual_seed(1)
    torch.compiler.reset()
    x, y = (torch.from_numpy(array).cuda() for array in timing.pictures(arguments.batch, channels_first=True))
    model = torch_networks.network(arguments.network).cuda().to(memory_format=LAYOUTS[layout]).train()
    adam = torch.optim.Adam(model.parameters(), fused=True, capturable=True)
    step = FORMS[arguments.form](model, adam, x.to(memory_format=LAYOUTS[layout]), y)
    return measure(step, arguments.seconds)


def eager(model, adam, x, y):
    """One kernel after the other, as it is written. The loss stays on the device."""
    loss_of = nn.BCEWithLogitsLoss()
    return stepping(lambda: loss_of(model(x), y), adam)


def reduce_overhead(model, adam, x, y):
    """The way there and the way back are compiled, and each is a CUDA graph; Adam is one fused kernel."""
    loss_of = nn.BCEWithLogitsLoss()
    loss = torch.compile(lambda x, y: loss_of(model(x), y), mode="reduce-overhead")
    return stepping(lambda: loss(x, y), adam)


def graph(model, adam, x, y):
    """The whole step, update included, is one CUDA graph."""
    return captured(eager(model, adam, x, y))


def compiled_graph(model, adam, x, y):
    """The same, of compiled kernels."""
    loss_of = nn.BCEWithLogitsLoss()
    loss = torch.compile(lambda x, y: loss_of(model(x), y))
    return captured(stepping(lambda: loss(x, y), adam))


FORMS = {form.__name__: form for form in (eager, reduce_overhead, graph, compiled_graph)}


def stepping(loss, adam):
    def step():
        adam.zero_grad()
        loss().backward()
        adam.step()

    return step


def captured(step):
    """The replay of a step, which was done some times beforehand on a stream of its own, as PyTorch wants it."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(11):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(step, seconds):
    """Milliseconds of one step: the mean of each chunk of steps between two events, after a fifth of the time to compile
    and to warm up."""
    for _ in range(11):
        step()
    torch.cuda.synchronize()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds / 5:
        step()
        torch.cuda.synchronize()
        count += 1
    chunk = max(1, round(CHUNK_MS / (1e3 * (time.perf_counter() - begin) / count)))
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        first.record()
        for _ in range(chunk):
            step()
        last.record()
        last.synchronize()
        times.append(first.elapsed_time(last) / chunk)
    return timing.summary(times)


if __name__ == "__main__":
    main()
