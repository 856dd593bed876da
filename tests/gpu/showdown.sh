#!/bin/sh
# sh tests/gpu/showdown.sh [DEVICE]
# The memory showdown at full size on one GPU, without weights, and where the time of a step goes; `cpu` rehearses it
# with the tiny model. Ends with everything under runs/published/<device>, ready to be committed with a README.
set -eu
device=${1:-0}
if [ "$device" = cpu ]; then
  set -- model=tiny num_frames=4 runs_dir="${RUNS_DIR:-runs/published}/cpu"
  grid="num_inference_steps=2 memory=baseline,model_offload,split_guidance,single_token,smallest measure=quick"
  published="${RUNS_DIR:-runs/published}/cpu" profiled="baseline single_token"  # compiling here takes minutes
else
  name=$(nvidia-smi --query-gpu=name --format=csv,noheader -i "$device" | awk '{print tolower($2)}')
  published="${RUNS_DIR:-runs/published}/${name:-$device}"
  set -- model=svd_xt model.weights=random runs_dir="$published"
  grid="" profiled="baseline single_token fastest"
fi
python -m svdsweep doctor || true
python -m svdsweep plan +experiment=memory_showdown "$@" $grid runner.devices="$device"
python -m svdsweep +experiment=memory_showdown "$@" $grid runner.devices="$device" name=memory_showdown
for memory in $profiled; do
  python tests/gpu/profile_step.py "$@" memory="$memory" --out "$published"
done
