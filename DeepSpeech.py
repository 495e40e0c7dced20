#!/usr/bin/env python3
import sys

from deepspeech_training.cli import main

sys.exit(main())
