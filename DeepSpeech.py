#!/usr/bin/env python3
import sys

from deepspeech_training.commands.main import train

sys.exit(train())
