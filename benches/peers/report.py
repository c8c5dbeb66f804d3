"""What was found: as a table to read, in a terminal or in Markdown, and as JSON."""

import os
import platform
import statistics
import textwrap
from datetime import datetime, timezone
from pathlib import Path


def machine():
    """Where this was measured."""
    return {"cpu": _cpu(), "cores": cores(), "memory_gib": round(_memory() / 2**30, 1)}


def cores():
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _memory():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def date():
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def joined(runs):
    """The least of all runs, and the median of their medians."""
    if not runs:
        return None
    medians = statistics.median(run["median_ms"] for run in runs)
    return {"min_ms": min(run["min_ms"] for run in runs), "median_ms": medians}


def row(pair):
    """One peer on one work, beside ours in the same minutes."""
    theirs, ours = joined(pair.theirs), joined(pair.ours)
    ratio = {key: theirs[key] / ours[key] for key in ("min_ms", "median_ms")} if theirs else None
    return {
        "work": pair.work.name,
        "peer": pair.peer.title,
        "notes": sorted({run["note"] for run in pair.theirs if run["note"]}),
        "theirs": theirs,
        "ours": ours,
        "ratio": ratio,
        "not_measured": None if theirs else pair.failure or "stopped before its turn",
        "runs": {"theirs": pair.theirs, "ours": pair.ours},
    }


def show(found):
    """Tables whose lines are also Markdown."""
    place = found["machine"]
    print(f"\n{place['cpu']}, {place['cores']} cores, {place['memory_gib']} GiB, {found['date']}")
    if found["versions"]:
        print(f"threads: {found['threads']}, {found['path']}, FMA peak {found['peak_gflops']:.0f} GFLOP/s")
        print("; ".join(f"{family} {version}" for family, version in sorted(found["versions"].items())))
        print(f"Milliseconds, the least (and the median) of {found['rounds']} × {found['seconds']:g} s in turns.")
        print("A ratio above 1: Tapetum is faster.")
    works = dict.fromkeys(row["work"] for row in found["rows"])
    for work in works:
        rows = [row for row in found["rows"] if row["work"] == work]
        print(f"\n{found['works'][work]}\n")
        _table([["", "its time", "Tapetum's", "ratio"], *map(_cells, rows)])
    for reason in dict.fromkeys(row["not_measured"] for row in found["rows"] if row["not_measured"]):
        peers = dict.fromkeys(row["peer"] for row in found["rows"] if row["not_measured"] == reason)
        print("\n" + textwrap.fill(f"Not measured, {reason}: {'; '.join(peers)}", 79))


def _cells(row):
    if not row["ratio"]:
        return [row["peer"], "not measured", "", ""]
    least, median = row["ratio"]["min_ms"], row["ratio"]["median_ms"]
    return [row["peer"], _ms(row["theirs"]), _ms(row["ours"]), f"{least:.2f} ({median:.2f})"]


def _ms(times):
    return f"{_digits(times['min_ms'])} ({_digits(times['median_ms'])})"


def _digits(ms):
    """Three digits that count."""
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for name, *numbers in [rows[0], rule, *rows[1:]]:
        padded = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:]))]
        print(f"| {' | '.join(padded)} |")
