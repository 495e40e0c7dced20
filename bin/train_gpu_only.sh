#!/usr/bin/env bash
# Train on a GPU; without one that fits, end with exit code 1 and the list of what was seen.
#
#   bin/train_gpu_only.sh [voice|text] [flags of DeepSpeech.py]
#
# voice trains the acoustic model, text builds a language model and scorer; without either the data decides.
# PYTHON names the interpreter; else .venv/bin/python, else python3.
exec "$(dirname -- "${BASH_SOURCE[0]}")/_train.sh" gpu "$@"
