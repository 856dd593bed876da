#!/bin/sh
# sh tests/gpu/showdown.sh [DEVICE]
# The memory showdown at full size on one GPU, without weights; `cpu` rehearses it with the tiny model.
# Ends with the sweep under runs/published/<device>/memory_showdown, ready to be committed with a README.
set -eu
device=${1:-0}
if [ "$device" = cpu ]; then
  set -- model=tiny num_frames=4 num_inference_steps=2 memory=baseline,model_offload,split_guidance,single_token,smallest measure=quick
else
  set -- model=svd_xt model.weights=random
fi
name=$(nvidia-smi --query-gpu=name --format=csv,noheader -i "$device" 2>/dev/null | awk '{print tolower($2)}' || true)
python -m svdsweep doctor || true
python -m svdsweep plan +experiment=memory_showdown "$@" runner.devices="$device"
python -m svdsweep +experiment=memory_showdown "$@" runner.devices="$device" \
  runs_dir="${RUNS_DIR:-runs/published}/${name:-$device}" name=memory_showdown
