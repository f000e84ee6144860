"""Time and memory of one training step with each attention, beside the plain backbone.

    python benchmarks/attention.py [--backbones densenet121 resnet50] [--sizes 256 512] [--batch 4]

The batch is that at 256 px; at other sizes it holds as many pixels.

Each variant runs in a process of its own, which reports its peak memory; its times are taken in
turns with those of the plain model in the same process, so the ratio does not depend on what
else the machine does. Weights are random: they do not change the time.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from foveola.models.descriptor import DescriptorModel

VARIANTS = {
    "plain": {},
    "SE": {"attention": "se"},
    "CBAM": {"attention": "cbam"},
    "self": {"attention": "self"},
    "axial": {"attention": "axial"},
    "mirror, feature": {"attention": "mirror", "views": "feature"},
    "mirror, encode": {"attention": "mirror", "views": "encode"},
}
REPEATS = 5


def step_seconds(model: DescriptorModel, x: torch.Tensor) -> float:
    """Forward, backward and an optimiser step."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    begin = time.perf_counter()
    model(x).descriptor.square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - begin


def measure(backbone: str, size: int, batch: int, variant: str) -> None:
    """One row: seconds, ratio to plain, peak memory of the process before plain is made."""
    x = torch.rand(batch, 3, size, size)
    own = DescriptorModel(backbone, 256, **VARIANTS[variant])
    step_seconds(own, x)  # the first is slower
    own_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    plain = DescriptorModel(backbone, 256)
    step_seconds(plain, x)
    pairs = [(step_seconds(own, x), step_seconds(plain, x)) for _ in range(REPEATS)]
    seconds = statistics.median(a for a, _ in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{backbone:12} {size:4} px x {batch}  {variant:16} {seconds:7.2f} s  "
        f"{ratio:5.2f} x plain  {own_memory:6.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbones", nargs="+", default=["densenet121", "resnet50"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--one", nargs=4, help="internal: backbone size batch variant")
    options = parser.parse_args()
    if options.one:
        backbone, size, batch, variant = options.one
        measure(backbone, int(size), int(batch), variant)
        return
    print(f"{torch.get_num_threads()} threads")
    for backbone in options.backbones:
        for size in options.sizes:
            for variant in VARIANTS:
                batch = max(1, options.batch * 256**2 // size**2)
                one = [backbone, str(size), str(batch), variant]
                subprocess.run([sys.executable, __file__, "--one", *one], check=True)


if __name__ == "__main__":
    main()
