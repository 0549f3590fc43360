#!/usr/bin/env bash
# torch 2.14.1: the functions of torch.distributed.nn.functional have `group=group.WORLD` as a default, which Python works out
# when the module is imported: the default group of that moment. DistributedDataParallel imports it when it is built, so with
# a group at hand, and from then on the process holds this group for ever. dist.destroy_process_group() still returns, but
# gloo's threads live on, and one that gives back a tensor of Python's while the interpreter ends aborts the process. With the
# module imported before init_process_group the default is None, and the threads end with the group.
#
# Seen: threads of gloo before and after destroy_process_group
#   plain 3 0
#   ddp 3 3
#   imported-before 3 0
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
    if sys.argv[1] == "imported-before":
        import torch.distributed.nn.functional
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    if sys.argv[1] != "plain":
        model = DistributedDataParallel(torch.nn.Linear(2, 2))
        del model
    dist.all_reduce(torch.zeros(1))
    before = gloo_threads()
    dist.destroy_process_group()
    gc.collect()
    print(sys.argv[1], before, gloo_threads())
PY
for way in plain ddp imported-before; do venv/bin/python threads.py "$way"; done | tee seen.txt
printf '%s\n' "plain 3 0" "ddp 3 3" "imported-before 3 0" | diff - seen.txt || { echo "groups end otherwise now" >&2; exit 1; }
