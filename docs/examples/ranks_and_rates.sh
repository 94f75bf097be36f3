#!/usr/bin/env bash
# Which LoRA rank, when the right learning rate is not known? Finds each rank's best rate, and trains more seeds only of ranks
# that can still change the answer.
#
#     MODEL=my-model ROWS=my-rows.jsonl docs/examples/ranks_and_rates.sh [--budget_gpu_hours 8 …]
#
# MODEL, ROWS and further flags: as for own_data.sh. The same command again resumes.
set -euo pipefail

: "${MODEL:?a Hub name, or a folder made by save_pretrained}" "${ROWS:?a JSON, JSONL, CSV or Parquet file, or a Hub name}"
name=${NAME:-ranks-and-rates}

lora-sweep grid --model_name_or_path "$MODEL" --dataset_name "$ROWS" --name "$name" --lora_r 8 32 128 \
  --tune learning_rate --ladder 1e-4 3e-4 1e-3 3e-3 --race "$@"
lora-sweep decisions "results/$name" # what it chose to train, and why
