#!/usr/bin/env bash
# Which LoRA rank for your own model and rows?
#
#     MODEL=my-model ROWS=my-rows.jsonl docs/examples/own_data.sh [--max_steps 200 …]
#
# MODEL is a Hub name or a folder made by save_pretrained; ROWS a file, a folder or a Hub name (docs/data.md). Any flag of
# `lora-sweep grid` may follow, and overrides what stands here. The same command again resumes; with more ranks or seeds it
# trains only what is new. Needs an environment with the project in it: `source .venv/bin/activate`.
set -euo pipefail

: "${MODEL:?a Hub name, or a folder made by save_pretrained}" "${ROWS:?a JSON, JSONL, CSV or Parquet file, or a Hub name}"
settings=(
  --model_name_or_path "$MODEL"
  --dataset_name "$ROWS"
  --lora_r 8 32 128
  --seeds 0 1 2 # three or more let the answer speak about ranks
  --learning_rate 2e-4
  --name "${NAME:-own-data}"
  "$@"
)

lora-sweep estimate "${settings[@]}" # memory by rank, steps and tokens; add --gpu for hours and cost
lora-sweep grid "${settings[@]}"     # trains, then answers, and writes report.html
# Then: lora-sweep export results/NAME
