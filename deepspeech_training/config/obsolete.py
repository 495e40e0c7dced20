"""Flags of DeepSpeech and Coqui STT that do nothing here: accepted with one line, or refused as still to come."""

from deepspeech_training.config.flag import Flag

# Accepted with one line; the default is DeepSpeech's, or Coqui's where DeepSpeech has no such flag.
OBSOLETE: dict[str, Flag] = {
    "read_buffer": Flag("1MB", "is not needed: clips are read whole"),
    "normalize_sample_rate": Flag(True, "is not needed: audio of another rate than --audio_sample_rate is resampled"),
    "shuffle_batches": Flag(False, "is not needed: every epoch has its own order unless --noshuffle is given"),
    "shuffle_start": Flag(1, "is not needed: the order is shuffled from the first epoch on (see --shuffle)"),
    "shuffle_buffer": Flag(1000, "is not needed: the whole set is shuffled, not a part of it (see --shuffle)"),
    "dropout_rate4": Flag(0.0, "is not needed: DeepSpeech reads it, but drops nothing in layer 4, the LSTM"),
    "dropout_rate5": Flag(0.0, "is not needed: DeepSpeech reads it, but layer 5 follows --dropout_rate6"),
    "load_cudnn": Flag(False, "is not needed: one kind of checkpoint loads on CPU and GPU"),
    "train_cudnn": Flag(False, "is not needed: the fast kernel is taken where it can be; checkpoints are the same"),
    "lm_alpha_max": Flag(
        5, "is not needed: it is an option of `deepspeech scorer tune`, which searches the best --lm_alpha"
    ),
    "lm_beta_max": Flag(
        5, "is not needed: it is an option of `deepspeech scorer tune`, which searches the best --lm_beta"
    ),
    "n_trials": Flag(
        2400, "is not needed: it is an option of `deepspeech scorer tune`, which searches the best weights"
    ),
    "use_allow_growth": Flag(False, "is not needed: GPU memory is taken as it is needed"),
}
SILENT_AT_DEFAULT = frozenset({"dropout_rate4", "dropout_rate5"})  # there, the default is also what happens

# Refused with exit code 2.
EXPORT_TO_COME: dict[str, Flag] = {
    "export_savedmodel": Flag(False, "is to come: writing the trained model as a SavedModel"),
}
SCORER_TO_COME: dict[str, Flag] = {
    "vocab_file": Flag("", "is to come: testing with the words of a scorer"),
}
DATA_TO_COME: dict[str, Flag] = {
    "auto_input_dataset": Flag("", "is to come: splitting one CSV into training, validation and test set"),
}
TO_COME: dict[str, dict[str, Flag]] = {
    "Export": EXPORT_TO_COME,
    "Scorer and beam search": SCORER_TO_COME,
    "Splitting": DATA_TO_COME,
}

# What absl adds to the flags.txt that DeepSpeech writes; passed over there, unknown elsewhere.
_ABSL_BOOLEANS = (
    "alsologtostderr",
    "help",
    "helpfull",
    "helpshort",
    "helpxml",
    "logtostderr",
    "only_check_args",
    "only_check_flags",
    "pdb",
    "pdb_post_mortem",
    "run_with_pdb",
    "run_with_profiling",
    "showprefixforinfo",
    "use_cprofile_for_profiling",
)
_ABSL_TEXTS = ("log_dir", "logger_levels", "profile_file", "stderrthreshold", "verbosity")
ABSL = {name: Flag(False, "absl's") for name in _ABSL_BOOLEANS} | {name: Flag("", "absl's") for name in _ABSL_TEXTS}

REFUSED = {name: refused for family in TO_COME.values() for name, refused in family.items()}
