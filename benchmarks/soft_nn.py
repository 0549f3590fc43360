"""Soft nearest neighbours over the bare matrix product: `python -m benchmarks.soft_nn [--quick]`.

The vote of an ImageNet evaluation (50,000 queries, 128,000 supports of 1,000 classes, 2,048 numbers each) at a tenth of both
sizes. The value is the CPU-seconds of the product of queries and supports, made in the same chunks, over those of the whole
vote. Memory is what the vote of a fresh process adds at its peak to what its tensors and imports take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch
from torch import Tensor

from benchmarks.index import peak_megabytes
from benchmarks.side_by_side import Figure, cost_ratio, finish
from paws.voting import soft_vote

QUERIES, SUPPORTS, WIDTH, CLASSES, CHUNK = 5_000, 12_800, 2_048, 1_000, 4_096
BAR, MEGABYTES_BAR = 0.8, 1_000.0


def embeddings(queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (Q, D), supports (S, D) and their classes (S,)."""
    random = torch.Generator().manual_seed(0)
    classes = torch.randint(CLASSES, (SUPPORTS,), generator=random)
    return torch.randn(queries, WIDTH, generator=random), torch.randn(SUPPORTS, WIDTH, generator=random), classes


def product(queries: Tensor, supports: Tensor) -> None:
    """Nothing but the matrix product, a chunk of queries and of supports at a time."""
    for part in queries.split(CHUNK):
        for others in supports.split(CHUNK):
            _ = part @ others.T


def added_megabytes() -> float:
    """In this process, which has voted nothing before."""
    queries, supports, classes = embeddings(QUERIES)
    product(queries[:64], supports[:64])
    before = peak_megabytes()
    soft_vote(queries, supports, classes, CLASSES, chunk=CHUNK)
    return peak_megabytes() - before


def main() -> None:
    """Print the ratio, the memory and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the queries, three rounds")
    parser.add_argument("--memory", action="store_true", help="only what the vote adds, in megabytes")
    options = parser.parse_args()
    if options.memory:
        print(json.dumps(added_megabytes()))
        return
    queries, supports, classes = embeddings(QUERIES // 5 if options.quick else QUERIES)
    rounds = 3 if options.quick else 9
    found = cost_ratio(
        lambda: product(queries, supports), lambda: soft_vote(queries, supports, classes, CLASSES, chunk=CHUNK), rounds
    )
    print(f"product {found.cost_a:.2f}, vote {found.cost_b:.2f} CPU-seconds; {found.value:.2f} x {found.spread}")
    memory = float(subprocess.check_output([sys.executable, "-m", "benchmarks.soft_nn", "--memory"], text=True))
    finish(
        Figure("the matrix product over soft nearest neighbours", round(found.value, 3), BAR, timing=True),
        Figure("memory that the vote adds, megabytes", round(memory), MEGABYTES_BAR, False),
        spread=[round(side, 3) for side in found.spread],
    )


if __name__ == "__main__":
    main()
