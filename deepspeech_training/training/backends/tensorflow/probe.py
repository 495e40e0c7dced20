"""Load TensorFlow, multiply two small matrices on each device, print what was found as JSON.

`python -m deepspeech_training.training.backends.tensorflow.probe`: a process of its own, as `doctor` has to outlive
what may go wrong here.
"""

import json
import sys

from deepspeech_training.config.groups import PerformanceFlags
from deepspeech_training.training.backends.tensorflow import devices


def main() -> int:
    machine = devices.set_up(PerformanceFlags())
    from deepspeech_training.training.backends.tensorflow import step as backend

    found = {
        **backend.versions(),
        **backend.cuda_build(),
        "on_gpu": machine.on_gpu,
        "devices": machine.description,
        "right": {device: backend.small_product(device) for device in machine.devices},
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
