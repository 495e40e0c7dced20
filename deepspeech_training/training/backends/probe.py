"""Load a backend, compute a little on each device, print what was found as JSON.

`python -m deepspeech_training.training.backends.probe`: a process of its own, as `doctor` has to outlive what may go
wrong here.
"""

import json
import sys

from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND


def main() -> int:
    print(json.dumps(BACKENDS[DEFAULT_BACKEND].probe()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
