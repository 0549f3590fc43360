#!/usr/bin/env bash
# torch 2.14.1: after dist.destroy_process_group() gloo's threads are gone, unless DistributedDataParallel was ever built on the
# group. Then they live on although the model was deleted, garbage was collected and the group was destroyed: what
# DistributedDataParallel holds of the group in C++ outlives both. So a program cannot count on them to be over when it ends,
# and what they still do then runs beside the interpreter's own end.
#
# Seen: threads of gloo before and after destroy_process_group
#   plain 3 0
#   ddp 3 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy==2.3.5
cd "$folder"
cat > threads.py <<'PY'
import gc
import os
import sys
import tempfile

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def gloo_threads():
    """How many threads of gloo this process has."""
    names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
    return sum("gloo" in name for name in names)


with tempfile.TemporaryDirectory() as folder:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    if sys.argv[1] == "ddp":
        model = DistributedDataParallel(torch.nn.Linear(2, 2))
        del model
    dist.all_reduce(torch.zeros(1))
    before = gloo_threads()
    dist.destroy_process_group()
    gc.collect()
    print(sys.argv[1], before, gloo_threads())
PY
venv/bin/python threads.py plain | tee plain.txt
venv/bin/python threads.py ddp | tee ddp.txt
test "$(cat plain.txt)" = "plain 3 0" || { echo "a group without DistributedDataParallel ends otherwise now" >&2; exit 1; }
test "$(cat ddp.txt)" = "ddp 3 3" || { echo "threads end with the group now" >&2; exit 1; }
