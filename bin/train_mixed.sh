#!/usr/bin/env bash
# Train on the best GPU that fits, without one on the CPU, which is said loudly.
#
#   bin/train_mixed.sh [voice|text] [flags of DeepSpeech.py]
#
# voice trains the acoustic model, text builds a language model and scorer; without either the data decides.
# PYTHON names the interpreter; else .venv/bin/python, else python3.
exec "$(dirname -- "${BASH_SOURCE[0]}")/_train.sh" mixed "$@"
