"""`python -m deepspeech_training`: the program."""

import sys

from deepspeech_training.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
