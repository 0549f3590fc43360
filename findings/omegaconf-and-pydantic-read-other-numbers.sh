#!/usr/bin/env bash
# OmegaConf 2.4.0 and pydantic 2.14.4 read the same text as different numbers: OmegaConf follows YAML 1.1 (010 is octal, 12:30 is
# sixty times twelve plus thirty, `on` is true), also in dotted overrides from a command line; pydantic reads 010 as ten. A
# recipe whose value passes through both depends on who saw the text first.
#
# Seen: text -> OmegaConf, pydantic's int or bool
#   010 -> 8, 10      12:30 -> 750, an error      on -> True, True      1_000 -> 1000, 1000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet omegaconf==2.4.0 pydantic==2.14.4
cd "$folder"
venv/bin/python - <<'PY'
from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

found = {}
for text, kind in (("010", int), ("12:30", int), ("on", bool), ("1_000", int)):
    override = OmegaConf.from_dotlist([f"key={text}"]).key
    try:
        typed = TypeAdapter(kind).validate_python(text)
    except ValidationError:
        typed = "an error"
    found[text] = override, typed
    print(text, "->", override, typed)
assert found == {"010": (8, 10), "12:30": (750, "an error"), "on": (True, True), "1_000": (1000, 1000)}, "it reads otherwise now"
PY
