"""One way to keep a book, in a process of its own: `python -m cagchat.bench.peers.contender JOB BEGAN`.

JOB is a file, BEGAN the reading of `time.perf_counter`, which is system-wide, from before the process was started.
The outcome is a line of JSON on stdout.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from cagchat.bench.peers.job import Job


def main() -> None:
    """Do the job; what libraries print goes to stderr."""
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = Job(**json.loads(Path(sys.argv[1]).read_bytes()))
    # Each way loads what it needs and no more: loading is part of the time until the first answer.
    way = importlib.import_module(f"cagchat.bench.peers.{'ours' if job.way == 'cagchat' else 'package'}")
    print(json.dumps(asdict(way.run(job, float(sys.argv[2])))), file=reports, flush=True)


if __name__ == "__main__":
    main()
