#!/usr/bin/env bash
# Learn a few words from the few speakers there are, for speakers who were never heard: spoken digits (docs/results.md).
#
#   bin/run-digits.sh --train_files train.csv --dev_files dev.csv --test_files dev.csv --checkpoint_dir DIR \
#     [any flags of DeepSpeech.py; yours come last and win, --augment is added to those below]
#
# It works at 8 kHz, as the recordings do (--audio_sample_rate 16000 for others), and tests with a scorer of the words
# of train.csv, so that no other word can be written (--notrain_scorer for words that are not in it).
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
  --n_hidden 256 --audio_sample_rate 8000 \
  --train_batch_size 32 --dev_batch_size 32 --test_batch_size 32 \
  --epochs 45 --best_by wer \
  --learning_rate 0.002 --lr_schedule cosine --ema 0.99 --max_grad_norm 5 \
  --dropout_rate 0.2 \
  --augment 'gain[db=-7.5~17.5]' \
  --augment 'noise[p=0.7,snr=27~20,slope=-3~3]' \
  --augment 'vtlp[factor=1~0.12]' \
  --augment 'pitch[p=0.7,pitch=1~0.15]' --augment 'tempo[p=0.7,factor=1.1~0.35]' \
  --augment 'equalizer[p=0.7,db=0~6]' \
  --train_scorer \
  --automatic_mixed_precision \
  "$@"
