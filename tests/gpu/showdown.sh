#!/bin/sh
# sh tests/gpu/showdown.sh [DEVICE [PART…]]
# What only a GPU can tell, at full size and without weights. Parts: `first` (a quarter of an hour for what is asked most),
# `kernels` (of attention and convolutions, for each shape), `profile` (where the time of a step goes), `fastest` and
# `smallest` (one setting added at a time), `presets` (the memory showdown); all of them by default, and sweeps go on where
# they ended. DEVICE `cpu` rehearses with the tiny model. Ends with everything under runs/published/<device>, ready to be
# committed with a README.
set -eu
device=${1:-0}
[ $# -gt 0 ] && shift
parts=${*:-first kernels profile fastest smallest presets}
if [ "$device" = cpu ]; then
  published="${RUNS_DIR:-runs/published}/cpu"
  set -- model=tiny num_frames=4 num_inference_steps=2 measure=quick
  grid="memory=baseline,model_offload,split_guidance,single_token,smallest" # compiling here takes minutes
  asked="baseline,chunked_decode,streamed_decode,smallest" profiled="baseline single_token"
else
  name=$(nvidia-smi --query-gpu=name --format=csv,noheader -i "$device" | awk '{print tolower($2)}')
  published="${RUNS_DIR:-runs/published}/${name:-$device}"
  set -- model=svd_xt model.weights=random
  grid="" asked="baseline,fastest,fastest_aggressive,smallest,chunked_decode,streamed_decode,compile,under_8gb"
  profiled="baseline single_token fastest fastest_aggressive"
fi
set -- "$@" runs_dir="$published" runner.devices="$device"
steps=$(mktemp -d)
trap 'rm -r "$steps"' EXIT
python tests/performance/ablation.py --presets "$steps" --device "$device"
python -m svdsweep doctor || true
for part in $parts; do
  case $part in
    first)
      python -m svdsweep measure=standard "$@" memory="$asked" metrics=none name=first
      python -m svdsweep "$@" memory=smallest gpu.memory_limit_gib=4 metrics=none name=smallest_in_4_gib ;;
    kernels)
      python tests/performance/attention.py --out "$published"
      python tests/performance/convolution.py --out "$published" ;;
    presets)
      python -m svdsweep plan +experiment=memory_showdown "$@" $grid
      python -m svdsweep +experiment=memory_showdown "$@" $grid name=memory_showdown ;;
    fastest | smallest)
      [ $part = fastest ] && road=ablation_fastest || road=ablation
      names=$(ls "$steps/memory" | sed -n "s/^\(${road}_[0-9]*\)\.yaml$/\1/p" | paste -sd, -)
      python -m svdsweep --config-dir "$steps" "$@" memory="baseline,$names" metrics=none name="$road" ;;
    profile)
      for memory in $profiled; do
        python tests/gpu/profile_step.py "$@" memory="$memory" --out "$published"
      done ;;
    *) echo "no part $part: first, kernels, profile, fastest, smallest, presets" >&2; exit 2 ;;
  esac
done
