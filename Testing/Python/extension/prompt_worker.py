"""A worker that answers at once with files that are there; its protocol is the real one.

Its folder holds `field.nrrd`, which every sample gets unless there is one for it (`field_0002.nrrd`
is the second), and `det.nrrd`, det J.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from DRDMCore.pipelines.worker import Worker
from DRDMCore.progress import Event

FOLDER = Path(sys.argv[1])
QUALITY = {"displacement_mm": {"mean": 1.5, "max": 3.0}}


def run(job, arguments, progress):
    """Do a job."""
    jobs = {"generate": generate, "scale": scale, "jacobian": jacobian}
    if job in jobs:
        return jobs[job](arguments, progress)
    return {"devices": [], "text": "needs nothing", "fits": True}  # what the panel asks, and export


def generate(arguments, progress):
    """Tell all samples at once."""
    out = Path(arguments["out"])
    out.mkdir()
    origin = {"model": {"name": "none"}, "settings": {"level": 20}, "versions": {}}
    count = arguments["count"]
    for number in range(1, count + 1):
        name = f"field_{number:04d}.nrrd"
        own = FOLDER / name
        (out / name).hardlink_to(own if own.exists() else FOLDER / "field.nrrd")
        sample = {"seed": arguments["seed"] + number, "quality": QUALITY, "field": name}
        data = {"sample": sample, "folder": str(out), **origin}
        progress(Event("sample", f"sample {number}", number, count, data))
    return {}


def scale(arguments, progress):
    """Answer the field at 100 %, as if it were scaled."""
    shutil.copy(arguments["field"], arguments["out"])
    return {
        "field": arguments["out"],
        "amplitude": arguments["amplitude"],
        "quality": QUALITY,
    }


def jacobian(arguments, progress):
    """Answer det J."""
    Path(arguments["out"]).hardlink_to(FOLDER / "det.nrrd")
    return {"volume": arguments["out"]}


if __name__ == "__main__":
    streams = io.FileIO(0, "rb"), io.FileIO(1, "wb")
    Worker(*streams, run).serve()
