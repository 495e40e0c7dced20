#!/usr/bin/env bash
# Learn sentences from half an hour of speech by some sixty speakers, for speakers who were never heard: AN4 (docs/results.md).
#
#   bin/run-an4.sh --train_files train.csv --dev_files dev.csv --test_files test.csv --checkpoint_dir DIR \
#     [--network conformer] [--random_seed N] \
#     [any flags of DeepSpeech.py; yours come last and win, --augment is added to those below]
#
# bin/import_an4.py makes the CSVs. It trains; searches --lm_alpha and --lm_beta on the dev set, for a
# scorer of the transcripts of train.csv (DIR/train.scorer, which keeps the weights); and tests: with that scorer, with
# the beam alone, and greedily. The search needs pip install '.[tools]'. It is left out without dev or test set, with
# --notrain_scorer, and where a flag of the search or --scorer is given.
#
# Environment:
#   PYTHON   the interpreter; else .venv/bin/python of this project, else python3
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=_run.sh
source "$root/bin/_run.sh"

python="${PYTHON:-}"
if [[ -z $python ]]; then
  python=python3
  [[ -x $root/.venv/bin/python ]] && python=$root/.venv/bin/python
fi

network=deepspeech
dev=
test=
folder=
search=true
flag=
for argument in "$@" ''; do
  case $flag in
    --network) network=$argument ;;
    --dev_files) dev=$argument ;;
    --test_files) test=$argument ;;
    --checkpoint_dir) folder=$argument ;;
  esac
  flag=
  case $argument in
    --network=*) network=${argument#*=} ;;
    --dev_files=*) dev=${argument#*=} ;;
    --test_files=*) test=${argument#*=} ;;
    --checkpoint_dir=*) folder=${argument#*=} ;;
    --lm_alpha* | --lm_beta* | --beam_width* | --notrain_scorer | --train_scorer=* | --scorer*) search=false ;;
    --*) flag=$argument ;;
  esac
done

flags=(
  --train_scorer --automatic_mixed_precision
  --train_batch_size 16 --dev_batch_size 32 --test_batch_size 32
)
# The warp of the mel bands and the speed stand for other speakers. docs/results.md says what was measured.
recipe=(
  --best_by wer --lr_schedule cosine --ema 0.99 --max_grad_norm 5
  --augment 'vtlp[factor=1~0.12]' --augment 'speed[p=0.6,factor=1~0.1]'
)
if [[ $network == conformer ]]; then
  # Without attention, which looks back alone and has little to learn from here; the loss halfway (--inter_ctc) brings
  # the first letters forward.
  recipe+=(
    --conformer_size xs --heads 0 --normalise_features --inter_ctc 0.3 --epochs 30
    --learning_rate 0.0015 --warmup_epochs 2 --beta2 0.98 --weight_decay 0.01 --dropout_rate 0.1
  )
else
  # With --layer_norm it writes letters from the first epochs on. Two views of each clip (--cr_ctc) cost half as much
  # time again and not twice. No masks: the run with them, of a wider network, ended worse.
  recipe+=(
    --n_hidden 256 --layer_norm --cr_ctc 0.2 --epochs 80
    --learning_rate 0.002 --warmup_epochs 1 --dropout_rate 0.2
  )
fi
program=("$python" "$root/DeepSpeech.py" "${flags[@]}")

if ! $search || [[ -z $dev || -z $test || -z $folder ]]; then
  run "${program[@]}" "${recipe[@]}" "$@"
  exit
fi
if ! "$python" -c 'import optuna' 2>/dev/null; then
  echo "run-an4.sh: the search for --lm_alpha and --lm_beta needs optuna: pip install '.[tools]', or add --notrain_scorer" >&2
  exit 1
fi
run "${program[@]}" "${recipe[@]}" "$@" --test_files=
run "$python" "$root/bin/deepspeech" scorer tune --checkpoint_dir "$folder" --scorer "$folder/train.scorer" \
  --dev_files "$dev" --beam_width 100 --n_trials 100 --folder "$folder/search" --write
run "${program[@]}" "$@" --train_files= --beam_width 100
