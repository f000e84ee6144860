"""What a line of the audit log costs, on the disk of a folder.

python benchmarks/audit_log.py [FOLDER]
"""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from foveola.server.audit import FILE, Log, verify


def main(lines: int = 2000) -> None:
    """Print milliseconds a line and lines a second, alone and from eight threads."""
    where = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        log, times = Log(Path(folder)), []
        for number in range(lines):
            start = time.perf_counter()
            log.append("anna", "search", range(number, number + 12))
            times.append(1000 * (time.perf_counter() - start))
        half, most = np.percentile(times, [50, 95])
        print(f"one thread: median {half:.2f} ms, p95 {most:.2f} ms a line of 12 cases")
        start = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: log.append("anna", "search", range(n, n + 12)), range(lines)))
        rate = lines / (time.perf_counter() - start)
        size = (Path(folder) / FILE).stat().st_size
        start = time.perf_counter()
        verify(Path(folder))
        check = 2 * lines / (time.perf_counter() - start)
        print(f"eight threads: {rate:,.0f} lines a second; {size / lines / 2:.0f} bytes a line")
        print(f"verify: {check:,.0f} lines a second")


if __name__ == "__main__":
    main()
