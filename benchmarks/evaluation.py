"""Time and memory of a full evaluation, beside pytorch-metric-learning's AccuracyCalculator.

    python benchmarks/evaluation.py [N]

N (35,000) made-up descriptors of 128 numbers, five grades as rare as in screening, two images a
subject, each asked against all others with every metric and 1,000 resamples of the subjects;
then 10,000 of them by both programs, side by side. Theirs has no intervals, no chance level and
no macro means, and is told not to use faiss. Peak memory is of a process of its own.
"""

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

GRADES = (0.735, 0.069, 0.151, 0.025, 0.020)
BESIDE = 10_000


def made_up(count: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Descriptors in which a grade shows a little, grades, subjects."""
    rng = np.random.default_rng(0)
    grades = rng.choice(5, count, p=GRADES)
    rows = rng.normal(size=(count, 128)) + 1.5 * np.eye(5, 128)[grades]
    return rows.astype(np.float32), grades, (np.arange(count) // 2).tolist()


def ours(count: int, bootstrap: int) -> tuple[float, float, float]:
    """Seconds, peak MiB, mAP@R without leaving subjects out, as theirs can't."""
    from foveola.metrics import RetrievalData, evaluate_retrieval

    rows, grades, subjects = made_up(count)
    begin = time.perf_counter()
    exclude = "subject" if bootstrap else "none"
    done = evaluate_retrieval(
        RetrievalData(rows, grades, subjects, label="grade"), exclude=exclude, bootstrap=bootstrap
    )
    return time.perf_counter() - begin, peak(), done.metrics["mAP@R"].value.micro


def theirs(count: int) -> tuple[float, float, float]:
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    rows, grades, _ = made_up(count)
    calculator = AccuracyCalculator(
        include=(
            "precision_at_1",
            "r_precision",
            "mean_average_precision_at_r",
            "mean_average_precision",
            "mean_reciprocal_rank",
        ),
        k="max_bin_count",
        knn_func=CustomKNN(CosineSimilarity(), batch_size=500),
    )
    begin = time.perf_counter()
    found = calculator.get_accuracy(torch.from_numpy(rows), torch.from_numpy(grades))
    return time.perf_counter() - begin, peak(), found["mean_average_precision_at_r"]


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(function, *arguments):
    """In a fresh process, so that its peak is its own."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", nargs="?", type=int, default=35_000)
    count = parser.parse_args().count
    seconds, megabytes, _ = alone(ours, count, 1000)
    print(f"{count:,} x {count:,}: {seconds:.1f} s, at most {megabytes:.0f} MiB", flush=True)
    seconds, megabytes, value = alone(ours, BESIDE, 0)
    slow, more, other = alone(theirs, BESIDE)
    print(f"{BESIDE:,} x {BESIDE:,}, no intervals, nobody left out:")
    print(f"  foveola                  {seconds:6.1f} s {megabytes:6.0f} MiB  mAP@R {value:.6f}")
    print(f"  pytorch-metric-learning  {slow:6.1f} s {more:6.0f} MiB  mAP@R {other:.6f}")
    print(f"ratio {slow / seconds:.1f}")


if __name__ == "__main__":
    main()
