#!/usr/bin/env bash
# Tell command words apart, also of speakers who were never heard, with a network of 73 thousand weights (docs/commands.md).
#
#   bin/run-speech-commands.sh --train_files train.csv --dev_files dev.csv --test_files dev.csv --checkpoint_dir DIR \
#     [--labels yes,no,up,down] [--silence_noise DIR] \
#     [any flags of DeepSpeech.py; yours come last and win, --augment is added to those below]
#
# The label of a row is in its column "label", or is its transcript.
#
# Environment:
#   PYTHON   the interpreter; else .venv/bin/python of this project, else python3
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

python="${PYTHON:-}"
if [[ -z $python ]]; then
  python=python3
  [[ -x $root/.venv/bin/python ]] && python=$root/.venv/bin/python
fi

exec "$python" "$root/DeepSpeech.py" \
  --task spoken_command \
  --train_batch_size 16 --epochs 60 \
  --learning_rate 0.003 --lr_schedule cosine --warmup_epochs 2 --ema 0.995 --max_grad_norm 5 \
  --dropout_rate 0.1 \
  --augment 'gain[db=-7.5~17.5]' \
  --augment 'noise[p=0.7,snr=27~20,slope=-3~3]' \
  --augment 'vtlp[factor=1~0.12]' \
  --augment 'equalizer[p=0.7,db=0~6]' \
  --augment 'speed[p=0.7,factor=1~0.15]' \
  --augment 'silence[p=0.8,before=300~300,after=150~150,dbfs=-55~25]' \
  --augment 'time_mask[p=0.6,n=2,size=60~60]' \
  "$@"
