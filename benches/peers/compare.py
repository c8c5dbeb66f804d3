#!/usr/bin/env python3
"""Measures Tapetum beside PyTorch, TensorFlow and ONNX Runtime: the same networks, on this machine, in turns."""

import argparse
import ctypes.util
import json
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import environments
import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Work:
    name: str
    network: str
    kind: str
    batch: int

    @property
    def title(self):
        what = {"train": "training step", "infer": "inference"}[self.kind]
        return f"{self.network.capitalize()} network, {what}, batch {self.batch}"


@dataclass(frozen=True)
class Peer:
    title: str
    family: str
    setting: str
    tcmalloc: bool = False


@dataclass
class Pair:
    """A peer on a work, and the runs of ours that took turns with it."""

    work: Work
    peer: Peer
    theirs: list = field(default_factory=list)
    ours: list = field(default_factory=list)
    failure: str | None = None


CHANNELS_LAST = [
    Peer("PyTorch, channels_last", "torch", "channels_last"),
    Peer("PyTorch, channels_last, tcmalloc", "torch", "channels_last", tcmalloc=True),
]
TRAINERS = [
    Peer("PyTorch", "torch", "nchw"),
    *CHANNELS_LAST,
    Peer("Keras, train_on_batch", "tensorflow", "keras"),
    Peer("TensorFlow, tf.function", "tensorflow", "function"),
]
PREDICTORS = [
    Peer("ONNX Runtime", "onnxruntime", "session"),
    *CHANNELS_LAST,
    Peer("PyTorch, compiled, tcmalloc", "torch", "compiled", tcmalloc=True),
]
COMPARED = [
    *((Work(f"train-{batch}", "thesis", "train", batch), TRAINERS) for batch in (32, 256)),
    *((Work(f"infer-{batch}", "thesis", "infer", batch), PREDICTORS) for batch in (1, 32, 256)),
    (Work("wide-64", "wide", "train", 64), CHANNELS_LAST),
]
WORKS = [work.name for work, _ in COMPARED]
FAMILIES = list(environments.PACKAGES)


def main():
    arguments = parsed()
    pairs = [Pair(work, peer) for work, peers in COMPARED for peer in peers if wanted(arguments.only, work, peer)]
    if not pairs:
        sys.exit("error: --only leaves nothing to compare")
    binary = arguments.binary or built()
    pythons = prepared(pairs, arguments)
    measured, stopped = {}, False
    try:
        for number in range(arguments.rounds):
            for pair in pairs:
                take_turns(pair, pythons, binary, arguments, measured, f"round {number + 1} of {arguments.rounds}")
    except KeyboardInterrupt:
        stopped = True
    found = {
        "date": report.date(),
        "machine": report.machine(),
        "threads": arguments.threads,
        "rounds": max(len(pair.theirs) for pair in pairs),
        "seconds": arguments.seconds,
        "path": measured.get("path"),
        "peak_gflops": measured.get("peak_gflops"),
        "versions": {pair.peer.family: run["version"] for pair in pairs for run in pair.theirs},
        "works": {work.name: work.title for work, _ in COMPARED},
        "rows": [report.row(pair) for pair in pairs],
    }
    report.show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    if stopped:
        sys.exit(130)


def parsed():
    def positive(text):
        number = float(text)
        if not 0 < number <= 3600:
            raise argparse.ArgumentTypeError("must be above 0, and at most 3600")
        return number

    def count(text):
        number = int(text)
        if number < 1:
            raise argparse.ArgumentTypeError("must be at least 1")
        return number

    parser = argparse.ArgumentParser(description=__doc__, epilog="Exit codes: 0 done, 1 failed, 2 usage, 130 stopped.")
    parser.add_argument(
        "--only", nargs="+", choices=WORKS + FAMILIES, default=[], metavar="NAME",
        help=f"some works ({', '.join(WORKS)}), some peers ({', '.join(FAMILIES)}), or both",
    )
    parser.add_argument("--rounds", type=count, default=5, metavar="N", help="turns of ours and each peer [5]")
    parser.add_argument("--seconds", type=positive, default=2.0, metavar="F", help="time of each measurement [2]")
    cores = report.cores()
    parser.add_argument("--threads", type=count, default=cores, metavar="N", help=f"threads of each [{cores}]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was found as JSON")
    parser.add_argument(
        "--venv", type=Path, default=ROOT / "target" / "peers", metavar="DIR",
        help="folder of the virtual environments, which are made where they are missing [target/peers]",
    )
    parser.add_argument("--no-install", action="store_true", help="measure only the peers that are in --venv already")
    parser.add_argument("--torch-index", metavar="URL", help="a package index with wheels of PyTorch without CUDA")
    parser.add_argument("--binary", type=Path, metavar="FILE", help="the example cats_vs_dogs, instead of building it")
    parser.add_argument("--wrap", default="", metavar="COMMAND", help="put before each measured one, as 'nice -n -20'")
    return parser.parse_args()


def wanted(only, work, peer):
    """A name of a work keeps that work, a name of a peer keeps that peer; without any, all are kept."""
    works, families = set(only) & set(WORKS), set(only) & set(FAMILIES)
    return (not works or work.name in works) and (not families or peer.family in families)


def built():
    """Ours, compiled as any user would."""
    print("building Tapetum's example", file=sys.stderr, flush=True)
    cargo = ["cargo", "build", "--release", "--locked", "--quiet", "--example", "cats_vs_dogs", "--message-format=json"]
    done = subprocess.run(cargo, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    artifacts = (json.loads(line) for line in done.stdout.splitlines())
    binaries = [made["executable"] for made in artifacts if made.get("executable")]
    if done.returncode != 0 or not binaries:
        sys.exit("error: the example could not be built")
    return Path(binaries[-1])


def prepared(pairs, arguments):
    """The interpreter of each family; a pair whose peer cannot be had gets the reason."""
    pythons, reasons = {}, {}
    for family in {pair.peer.family: None for pair in pairs}:
        index = arguments.torch_index if family == "torch" else None
        try:
            pythons[family] = environments.python_of(family, arguments.venv, index, not arguments.no_install)
        except environments.Missing as missing:
            reasons[family] = str(missing)
    for pair in pairs:
        pair.failure = reasons.get(pair.peer.family)
        if pair.peer.tcmalloc and not tcmalloc():
            pair.failure = pair.failure or "no library libtcmalloc"
    return pythons


def tcmalloc():
    if sys.platform != "linux":
        return None
    return ctypes.util.find_library("tcmalloc_minimal") or ctypes.util.find_library("tcmalloc")


def take_turns(pair, pythons, binary, arguments, measured, when):
    """Ours, and then the peer; one that fails is not asked again."""
    if pair.failure:
        return
    ours, peak = run_ours(pair.work, binary, arguments)
    measured["path"] = peak["path"]
    measured["peak_gflops"] = max(peak["peak_gflops"], measured.get("peak_gflops", 0.0))
    try:
        theirs = run_peer(pair, pythons[pair.peer.family], arguments)
    except subprocess.SubprocessError as failure:
        pair.failure = reason(failure)
        print(f"{when}, {pair.work.name}: {pair.peer.title} failed: {pair.failure}", file=sys.stderr)
        return
    pair.ours.append(ours)
    pair.theirs.append(theirs)
    times = f"ours {ours['min_ms']:.3f} ms, {pair.peer.title} {theirs['min_ms']:.3f} ms"
    print(f"{when}, {pair.work.name}: {times}", file=sys.stderr, flush=True)


def run_ours(work, binary, arguments):
    """Its times, and all that it said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        command = [binary, "bench", "--network", work.network, "--only", work.kind, "--batch", work.batch]
        command += ["--threads", arguments.threads, "--seconds", arguments.seconds, "--json", path]
        try:
            run(command, arguments)
        except (subprocess.SubprocessError, OSError) as failure:
            sys.exit(f"error: Tapetum's example failed: {reason(failure)}")
        found = json.loads(path.read_text())
    times = found[work.kind][0]
    return {key: times[key] for key in ("min_ms", "median_ms")}, found


def run_peer(pair, python, arguments):
    """Its answer; see timing.answer."""
    work, peer = pair.work, pair.peer
    command = ["env", f"OMP_NUM_THREADS={arguments.threads}", f"MKL_NUM_THREADS={arguments.threads}"]
    if peer.tcmalloc:
        command.append(f"LD_PRELOAD={tcmalloc()}")
    command += [python, HERE / f"run_{peer.family}.py", work.network, work.kind, work.batch, peer.setting]
    output = run([*command, "--threads", arguments.threads, "--seconds", arguments.seconds], arguments)
    return json.loads(output.strip().splitlines()[-1])


def run(command, arguments):
    """The output of a process that measures, alone."""
    whole = [*shlex.split(arguments.wrap), *map(str, command)]
    return subprocess.run(whole, capture_output=True, text=True, check=True, timeout=900).stdout


def reason(failure):
    """The last line that a process said, or why there was none."""
    said = (getattr(failure, "stderr", None) or "").strip().splitlines()
    return said[-1] if said else str(failure)


if __name__ == "__main__":
    main()
