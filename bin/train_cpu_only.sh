#!/usr/bin/env bash
# Train on the CPU, whatever GPUs there are.
#
#   bin/train_cpu_only.sh [voice|text] [flags of DeepSpeech.py]
#
# voice trains the acoustic model, text builds a language model and scorer; without either the data decides.
# PYTHON names the interpreter; else .venv/bin/python, else python3.
exec "$(dirname -- "${BASH_SOURCE[0]}")/_train.sh" cpu "$@"
