#!/usr/bin/env python3
import sys

from deepspeech_training.commands.train import main

sys.exit(main())
