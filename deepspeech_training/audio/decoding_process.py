"""One file that nobody vouches for, decoded in this process, which is no other's: `runtime.media` starts it.

    python -m deepspeech_training.audio.decoding_process '{"target": 5, ...}' < FILE

The samples go into a file, whose descriptor is handed down; what is said of them goes to stdout as one line of JSON.
"""

import errno
import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

from deepspeech_training.audio.errors import AudioError, TooLong
from deepspeech_training.audio.files import AudioFile


def main() -> None:
    settings = json.loads(sys.argv[1])
    # Only the soft limit of the processor's time counts: at it the process is ended by SIGXCPU.
    seconds = settings["timeout_s"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    signal.alarm(seconds + 1)  # if the parent is no more
    memory = settings["memory_mb"] << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    disk = settings["disk_mb"] << 20  # of each file that is written; Python ignores the signal, so that it is an error
    resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(settings["target"], "wb") as target:
        print(json.dumps(_decode(settings, target)), flush=True)
    os._exit(0)  # nothing of what is loaded has to be torn down


def _decode(settings: dict[str, Any], target: BinaryIO) -> dict[str, Any]:
    """Either `sample_rate`, or `fault` and its `code`."""
    try:
        # Not /dev/stdin: the programs ffmpeg and sox have another.
        with AudioFile(f"/proc/{os.getpid()}/fd/0", most_s=settings["most_s"]) as audio:
            sample_rate = settings["sample_rate"] or audio.info.sample_rate
            audio.copy_to(target, sample_rate=sample_rate)
    except TooLong as error:
        return {"fault": error.reason, "code": "too_long"}
    except AudioError as error:
        return {"fault": error.reason, "code": error.code}
    except MemoryError:
        fault = f"to decode it takes more than {settings['memory_mb']:,} MB of memory"
        return {"fault": fault, "code": "decoding_limits"}
    except OSError as error:
        if error.errno == errno.EFBIG:
            fault = f"decoded it takes more than {settings['disk_mb']:,} MB"
            return {"fault": fault, "code": "decoding_limits"}
        return {"fault": f"there is no room to decode it: {error.strerror}", "code": "no_room"}
    return {"sample_rate": sample_rate}


if __name__ == "__main__":
    main()
