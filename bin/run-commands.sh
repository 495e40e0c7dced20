#!/usr/bin/env bash
# Learn command words from some twenty speakers, for speakers who were never heard: Arabic commands (docs/results.md).
#
#   bin/run-commands.sh --train_files train.csv --dev_files dev.csv --test_files dev.csv --checkpoint_dir DIR \
#     --alphabet_config_path alphabet.txt \
#     [any flags of DeepSpeech.py; yours come last and win, --augment is added to those below]
#
# With --task spoken_command the words are told apart instead of written: the same as bin/run-speech-commands.sh.
#
# It tests with a scorer of the words of train.csv, so that no other word can be written (--notrain_scorer for words
# that are not in it). The clips begin with some silence; for clips that are cut right before the first sound add
# --leading_blanks 0 (docs/improving.md).
#
# Environment:
#   PYTHON   the interpreter; else .venv/bin/python of this project, else python3
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

case " $* " in
  *" --task spoken_command "* | *" --task=spoken_command "*) exec "$root/bin/run-speech-commands.sh" "$@" ;;
esac

python="${PYTHON:-}"
if [[ -z $python ]]; then
  python=python3
  [[ -x $root/.venv/bin/python ]] && python=$root/.venv/bin/python
fi

exec "$python" "$root/DeepSpeech.py" \
  --n_hidden 256 \
  --train_batch_size 32 --dev_batch_size 32 --test_batch_size 32 \
  --epochs 35 --best_by wer \
  --learning_rate 0.002 --lr_schedule cosine --warmup_epochs 1 --ema 0.99 --max_grad_norm 5 \
  --dropout_rate 0.25 --leading_blanks 9 \
  --augment 'gain[db=-7.5~17.5]' \
  --augment 'noise[p=0.7,snr=27~20,slope=-3~3]' \
  --augment 'vtlp[factor=1~0.12]' \
  --augment 'pitch[p=0.7,pitch=1~0.15]' --augment 'tempo[p=0.8,factor=1.2~0.6]' \
  --augment 'equalizer[p=0.7,db=0~6]' \
  --augment 'silence[p=0.7,before=150~150,after=150~150,dbfs=-55~25]' \
  --train_scorer \
  --automatic_mixed_precision \
  "$@"
