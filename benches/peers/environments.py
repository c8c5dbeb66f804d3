"""A virtual environment for each peer, so that what one needs stands in nobody's way."""

import subprocess
import sys
from pathlib import Path

# Pinned, so that two comparisons compare the same.
PACKAGES = {
    "torch": ["torch==2.15.0", "numpy==2.4.6"],
    "tensorflow": ["tensorflow-cpu==2.21.0", "keras==3.15.1"],
    "onnxruntime": ["onnxruntime==1.32.0", "onnx==1.23.2"],
}


class Missing(Exception):
    """Why a peer cannot be measured."""


def python_of(family, folder, index=None, install=True):
    """The interpreter that has the packages of a family; installs them where they are not there yet."""
    python = Path(folder).absolute() / family / "bin" / "python"
    if _imports(python, family):
        return python
    if not install:
        raise Missing(f"no {family} in {folder}")
    print(f"installing {', '.join(PACKAGES[family])}", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", python.parent.parent])
    _run([python, "-m", "pip", "install", "--quiet", *(["--index-url", index] if index else []), *PACKAGES[family]])
    if not _imports(python, family):
        raise Missing(f"{family} is installed, but cannot be imported")
    return python


def _imports(python, family):
    found = python.exists() and subprocess.run([python, "-c", f"import {family}"], capture_output=True)
    return bool(found) and found.returncode == 0


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(said[-1] if said else f"{command[0]} failed")
