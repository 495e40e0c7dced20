"""The flags of a training, with DeepSpeech's names and defaults (docs/flags.md). A new flag is a field in groups.py."""

from deepspeech_training.config.groups import FLAGS, Config, as_dict, from_dict, to_flag_lines
from deepspeech_training.config.parsing import ParsedFlags, parse_flags

__all__ = ["FLAGS", "Config", "ParsedFlags", "as_dict", "from_dict", "parse_flags", "to_flag_lines"]
