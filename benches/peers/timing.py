"""What the programs that measure one peer share: their arguments, their pictures, the clock, the answer."""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy

PARAMETERS = {"thesis": 813_217, "wide": 288_033}


def arguments(settings):
    """The work and the setting that one process measures; they come from compare.py."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=["thesis", "wide"])
    parser.add_argument("kind", choices=["train", "infer"])
    parser.add_argument("batch", type=int)
    parser.add_argument("setting", choices=settings)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    # The loader only warns where it finds no such library.
    library = os.environ.get("LD_PRELOAD")
    assert not library or library in Path("/proc/self/maps").read_text(), f"{library} was not loaded"
    return parser.parse_args()


def pictures(batch, channels_first):
    """Noise to learn by heart: x [N, 64, 64, 3] or [N, 3, 64, 64], and a 0 or 1 for each picture, y [N, 1]."""
    random = numpy.random.default_rng(2)
    x = random.random((batch, 3, 64, 64) if channels_first else (batch, 64, 64, 3), dtype=numpy.float32)
    return x, random.integers(0, 2, (batch, 1)).astype(numpy.float32)


def measure(step, seconds):
    """Milliseconds of one call, as `cats_vs_dogs bench` takes them: three calls that count for nothing (they trace,
    compile and allocate), a fifth of the time to warm up, and then at least five calls until the time is over."""
    for _ in range(3):
        step()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds / 5:
        step()
    times = []
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return summary(times)


def summary(times):
    return {"min_ms": min(times), "median_ms": statistics.median(times)}


def answer(version, times, note=""):
    """The last line of the output, which compare.py reads."""
    print(json.dumps({"version": version, "note": note, **times}), flush=True)
