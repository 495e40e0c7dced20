import dataclasses
import itertools
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.commands.main import run
from deepspeech_training.config import FLAGS, Config, as_dict, from_dict, parse_flags, to_flag_lines
from deepspeech_training.config.flag import LARGEST_INT
from deepspeech_training.config.groups import (
    DEEPSPEECH_WEIGHTS,
    CheckpointFlags,
    DecoderFlags,
    ExportFlags,
    GeometryFlags,
)
from deepspeech_training.config.help import EXAMPLE, flags_markdown, format_help
from deepspeech_training.config.obsolete import OBSOLETE, REFUSED
from deepspeech_training.config.presets import PRESETS
from deepspeech_training.config.private import PRIVATE
from deepspeech_training.config.rules import check_layers, check_network
from deepspeech_training.errors import EXIT_FLAGS, FlagError, UserError
from deepspeech_training.models import flags_of_others

ROOT = Path(__file__).resolve().parents[2]

# DeepSpeech 0.9.3, training/deepspeech_training/util/flags.py; lists are empty where DeepSpeech has "".
DEEPSPEECH_DEFAULTS = {
    "train_files": (),
    "dev_files": (),
    "test_files": (),
    "metrics_files": (),
    "read_buffer": "1MB",
    "feature_cache": "",
    "cache_for_epochs": 0,
    "feature_win_len": 32,
    "feature_win_step": 20,
    "audio_sample_rate": 16000,
    "augment": (),
    "epochs": 75,
    "dropout_rate": 0.05,
    "dropout_rate2": -1.0,
    "dropout_rate3": -1.0,
    "dropout_rate4": 0.0,
    "dropout_rate5": 0.0,
    "dropout_rate6": -1.0,
    "relu_clip": 20.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "learning_rate": 0.001,
    "train_batch_size": 1,
    "dev_batch_size": 1,
    "test_batch_size": 1,
    "export_batch_size": 1,
    "inter_op_parallelism_threads": 0,
    "intra_op_parallelism_threads": 0,
    "use_allow_growth": False,
    "load_cudnn": False,
    "train_cudnn": False,
    "automatic_mixed_precision": False,
    "limit_train": 0,
    "limit_dev": 0,
    "limit_test": 0,
    "reverse_train": False,
    "reverse_dev": False,
    "reverse_test": False,
    "checkpoint_dir": "",
    "load_checkpoint_dir": "",
    "save_checkpoint_dir": "",
    "checkpoint_secs": 600,
    "max_to_keep": 5,
    "load_train": "auto",
    "load_evaluate": "auto",
    "drop_source_layers": 0,
    "export_dir": "",
    "remove_export": False,
    "export_tflite": False,
    "n_steps": 16,
    "export_zip": False,
    "export_file_name": "output_graph",
    "export_beam_width": 500,
    "export_author_id": "author",
    "export_model_name": "model",
    "export_model_version": "0.0.1",
    "export_contact_info": "<...>",
    "export_license": "<...>",
    "export_language": "<...>",
    "export_min_ds_version": "<...>",
    "export_max_ds_version": "<...>",
    "export_description": "<...>",
    "log_level": 1,
    "show_progressbar": True,
    "log_placement": False,
    "report_count": 5,
    "summary_dir": "",
    "test_output_file": "",
    "n_hidden": 2048,
    "layer_norm": False,
    "random_seed": 4568,
    "early_stop": False,
    "es_epochs": 25,
    "es_min_delta": 0.05,
    "reduce_lr_on_plateau": False,
    "plateau_epochs": 10,
    "plateau_reduction": 0.1,
    "force_initialize_learning_rate": False,
    "bytes_output_mode": False,
    "alphabet_config_path": "data/alphabet.txt",
    "scorer": "",
    "scorer_path": "",
    "beam_width": 1024,
    "lm_alpha": 0.931289039105002,
    "lm_beta": 1.1834137581510284,
    "cutoff_prob": 1.0,
    "cutoff_top_n": 300,
    "one_shot_infer": "",
    "lm_alpha_max": 5,
    "lm_beta_max": 5,
    "n_trials": 2400,
}
COQUI_ONLY_DEFAULTS = {
    "auto_input_dataset": "",
    "vocab_file": "",
    "shuffle_batches": False,
    "shuffle_start": 1,
    "shuffle_buffer": 1000,
    "normalize_sample_rate": True,
    "skip_batch_test": False,
    "export_quantize": True,
    "export_savedmodel": False,
    "export_min_stt_version": "<...>",
    "export_max_stt_version": "<...>",
}
OURS = {
    "dev_share": 0.05,
    "label_smoothing": 0.1,
    "labels": (),
    "class_weights": True,
    "silence_noise": "",
    "other_speech_files": (),
    "false_alarms_per_hour": 0.5,
    "clip_seconds": 1.0,
    "filters": 128,
    "notify": (),
    "wandb": "",
    "mlflow": "",
    "feature_cache_gb": 50.0,
    "train_scorer": False,
    "leading_blanks": 0,
    "cr_ctc": 0.0,
    "inter_ctc": 0.0,
    "on_bad_row": "fail",
    "best_by": "",
    "shuffle": True,
    "batch_seconds": 0.0,
    "max_grad_norm": 0.0,
    "logical_cpus": 1,
    "workers": (),
    "rank": -1,
    "ephemeral": False,
    "lr_schedule": "constant",
    "warmup_epochs": 0.0,
    "weight_decay": 0.0,
    "ema": 0.0,
    "normalise_features": False,
    "loader_threads": 0,
    "log_steps": 0,
    "preset": "none",
    "output_dir": "",
    "voice_mode": "auto",
    "voice_data_dir": "",
    "check_voice_data": False,
    "text_data": (),
    "mode": "",
    "device": "",
    "min_gpu_memory": 2.0,
    "show_resources": False,
    "min_epochs": 0,
    "export_max_wer_increase": 0.05,
    "reuse_characters": False,
    "network": "deepspeech",
    "conformer_size": "s",
    "d_model": 176,
    "layers": 12,
    "heads": 4,
    "kernel": 15,
    "task": "speech_to_text",
    "freeze_layers": (),
    "source_learning_rate_factor": 1.0,
    "export_tflite": True,  # the only graph there is
    "alphabet_config_path": "",  # DeepSpeech: data/alphabet.txt; here the checkpoint's or the package's
    "lm_alpha": None,
    "lm_beta": None,  # DeepSpeech: 0.93, 1.18; here what the scorer's file says
}
# DeepSpeech's default is a text in angle brackets; here it is empty, and the card has such a text.
PLACEHOLDERS = {name: "" for name, d in {**DEEPSPEECH_DEFAULTS, **COQUI_ONLY_DEFAULTS}.items() if d == "<...>"}


def config_of(*argv):
    return parse_flags(argv).config


def error_of(*argv):
    with pytest.raises(FlagError) as caught:
        parse_flags(argv)
    assert caught.value.exit_code == EXIT_FLAGS
    return str(caught.value)


@pytest.fixture
def flagfile(tmp_path):
    def write(text, name="flags.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_every_flag_of_deepspeech_and_coqui_is_known_with_its_default():
    ours = {name: flag.default for name, flag in {**REFUSED, **OBSOLETE, **FLAGS}.items()}
    assert ours == {**DEEPSPEECH_DEFAULTS, **COQUI_ONLY_DEFAULTS, **OURS, **PLACEHOLDERS}
    assert {name for name, flag in FLAGS.items() if flag.placeholder} == set(PLACEHOLDERS)


def test_a_default_has_the_type_that_deepspeech_gives_it():
    for name, default in {**DEEPSPEECH_DEFAULTS, **OURS}.items():
        if name in FLAGS:
            assert type(FLAGS[name].default) is type(default), name


def test_no_two_groups_and_tables_share_a_name():
    names = [entry.name for part in fields(Config) for entry in fields(part.type)]
    names += [*OBSOLETE, *REFUSED]
    assert len(names) == len(set(names))


def test_every_field_is_a_flag_with_help_and_a_default_that_is_allowed():
    for part in fields(Config):
        assert part.metadata["title"]
        for entry in fields(part.type):
            flag = entry.metadata["flag"]
            assert flag.help and not flag.help.endswith("."), entry.name
            if entry.default is None:
                assert entry.type == flag.type | None and flag.default_is, entry.name
            else:
                assert type(entry.default) is flag.type is entry.type or flag.type is tuple, entry.name
            if flag.type in (int, float) and entry.default is not None:
                assert flag.allows(flag.default), entry.name
            if flag.type in (int, float) and flag.allows(0) and entry.name not in ("log_level", "random_seed"):
                unclear = {"dropout_rate2", "dropout_rate3", "dropout_rate6", "beta1", "beta2"}
                assert flag.zero or entry.name in unclear, f"{entry.name}: what does 0 mean?"


def test_no_flags_are_the_defaults():
    parsed = parse_flags([])
    assert parsed.config == Config()
    assert (parsed.given, parsed.notices, parsed.help_wanted, parsed.version_wanted) == (frozenset(), (), "", False)


@pytest.mark.parametrize("words", ["--epochs 3", "--epochs=3", "-epochs 3", "-epochs=3", "--epochs=9 --epochs 3"])
def test_a_value_may_follow_in_every_syntax_and_the_last_wins(words):
    assert config_of(*words.split()).training.epochs == 3


@pytest.mark.parametrize("word", ["true", "t", "yes", "1", "True", "TRUE"])
def test_a_switch_is_on(word):
    assert config_of("--early_stop").early_stop.early_stop
    assert config_of("--early_stop", word, "--epochs", "1").early_stop.early_stop
    assert config_of(f"--early_stop={word}").early_stop.early_stop


@pytest.mark.parametrize("word", ["false", "f", "no", "0", "False", "FALSE"])
def test_a_switch_is_off(word):
    assert not config_of("--noshuffle").limits.shuffle
    assert not config_of("-noshuffle").limits.shuffle
    assert not config_of("--shuffle", word).limits.shuffle
    assert not config_of(f"--shuffle={word}").limits.shuffle


def test_a_switch_does_not_swallow_the_flag_after_it():
    config = config_of("--early_stop", "--epochs", "2")
    assert config.early_stop.early_stop and config.training.epochs == 2


def test_the_no_form_takes_no_value():
    assert "takes no value" in error_of("--noearly_stop=true")


def test_a_comma_list_drops_empty_items_and_the_last_list_replaces():
    assert config_of("--train_files", "a.csv,,b.csv,").data.train_files == ("a.csv", "b.csv")
    assert config_of("--train_files", "a.csv", "--train_files", "b.csv").data.train_files == ("b.csv",)
    assert config_of("--train_files=").data.train_files == ()


def test_a_repeatable_flag_gathers_all_its_values(flagfile):
    path = flagfile("--augment=pitch[p=0.1,pitch=1~0.2]\n--augment=\n")
    config = config_of(
        "--flagfile", path, "--augment", "codec", "--epochs=3", "--augment", "gain", "noise[p=0.5,snr=9]"
    )
    assert config.augmentation.augment == ("pitch[p=0.1,pitch=1~0.2]", "codec", "gain", "noise[p=0.5,snr=9]")
    lines = [line for line in to_flag_lines(config) if line.startswith("--augment=")]
    assert lines == [f"--augment={value}" for value in config.augmentation.augment]


def test_a_wrong_augmentation_is_refused_before_anything_starts():
    assert "there is no augmentation 'pich'; did you mean pitch?" in error_of("--augment", "pich[p=0.1]")


def test_the_cache_alone_is_on_the_volume():
    for words in (["--feature_cache"], ["--feature_cache", "--epochs", "3"]):
        assert config_of(*words).augmentation.feature_cache == "persistent-data/caches/audio"
    assert config_of("--feature_cache", "a", "--epochs=3").augmentation.feature_cache == "a"
    assert config_of("--feature_cache=").augmentation.feature_cache == ""
    assert len(parse_flags(["--cache_for_epochs", "3"]).notices) == 1


def test_a_negative_number_is_a_value():
    assert config_of("--dropout_rate2", "-1.0").training.dropout_rate2 == -1
    assert config_of("--learning_rate", "1e-4").optimizer.learning_rate == 1e-4


def test_a_flag_that_stands_where_a_value_should_is_not_taken_for_one():
    assert "--train_files needs a value, and --dev_files follows" in error_of("--train_files", "--dev_files", "a.csv")
    assert "--epochs needs a value, and -n_hidden=3 follows" in error_of("--epochs", "-n_hidden=3")
    assert "--epochs needs a value" in error_of("--epochs")


@pytest.mark.parametrize("words", ["train.csv", "--epochs 3 train.csv", "-- train.csv", "--early_stop train.csv"])
def test_a_word_that_is_no_flag_is_quoted(words):
    message = error_of(*words.split())
    assert "'train.csv' is not a flag" in message or "'--' is not a flag" in message


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--epoch", "did you mean --epochs"),
        ("--train-files", "did you mean --train_files"),
        ("--noearlystop", "did you mean --noearly_stop"),
        ("--nhidden", "did you mean --n_hidden"),
        ("--noepochs", "did you mean --epochs"),
        ("--zzzzzz", "see --help"),
    ],
)
def test_an_unknown_flag_names_the_nearest(word, hint):
    message = error_of(word, "3")
    assert message.startswith(f"unknown flag {word}") and hint in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--load_train bset", "--load_train bset: must be one of last, best, init, auto; did you mean best?"),
        ("--load_evaluate init", "--load_evaluate init: must be one of last, best, auto"),
        ("--on_bad_row=skip", "--on_bad_row skip: must be one of fail, drop"),
        ("--epochs -1", "--epochs -1: must be a whole number, at least 0; the nearest is 0"),
        ("--epochs 1_000", "--epochs 1_000: must be a whole number, at least 0; the nearest is 1000"),
        ("--epochs 2.6", "--epochs 2.6: must be a whole number, at least 0; the nearest is 3"),
        ("--epochs ten", "--epochs ten: must be a whole number, at least 0"),
        ("--epochs=", "--epochs '': must be a whole number, at least 0"),
        ("--random_seed 99999999999", f"the nearest is {LARGEST_INT}"),
        ("--train_batch_size 0", "--train_batch_size 0: must be a whole number, at least 1; the nearest is 1"),
        ("--log_level 4", "--log_level 4: must be a whole number, at least 0 and at most 3; the nearest is 3"),
        ("--dropout_rate 1", "--dropout_rate 1: must be a number, at least 0 and below 1"),
        ("--dropout_rate2 -0.5", "must be a number, at least 0 and below 1, or -1; the nearest is 0"),
        ("--plateau_reduction 1", "--plateau_reduction 1: must be a number, above 0 and below 1"),
        ("--learning_rate 0", "--learning_rate 0: must be a number, above 0"),
        ("--learning_rate nan", "--learning_rate nan: must be a number, above 0"),
        ("--learning_rate 1e999", "--learning_rate 1e999: must be a number, above 0"),
        ("--relu_clip 2_0.0", "--relu_clip 2_0.0: must be a number, above 0; the nearest is 20.0"),
        ("--early_stop=maybe", "--early_stop maybe: must be true or false"),
        ("--train_cudnn=maybe", "--train_cudnn maybe: must be true or false"),
    ],
)
def test_a_wrong_value_says_what_is_allowed_and_what_is_nearest(words, message):
    assert message in error_of(*words.split())


def test_a_value_cannot_have_a_line_break_as_a_flagfile_could_not_hold_it():
    assert "line break" in error_of("--summary_dir", "a\nb")


@pytest.mark.parametrize("name", ["feature_win_len", "feature_win_step"])
def test_windows_must_be_whole_samples(name):
    other = {"feature_win_len": "feature_win_step", "feature_win_step": "feature_win_len"}[name]
    message = error_of(f"--{name}", "33", f"--{other}", "40", "--audio_sample_rate", "11025")
    assert f"--{name} 33: 33 ms at --audio_sample_rate 11025 are 363.825 samples" in message
    assert "the nearest is 40 ms" in message
    whole = config_of("--audio_sample_rate", "11025", "--feature_win_len", "40", "--feature_win_step", "40")
    assert whole.data.audio_sample_rate == 11025


@pytest.mark.parametrize("name", ["alphabet_config_path", "one_shot_infer"])
def test_a_file_to_read_must_exist(name, tmp_path):
    assert f"--{name} {tmp_path / 'x'}: no such file" in error_of(f"--{name}", str(tmp_path / "x"))
    assert "this is a folder, not a file" in error_of(f"--{name}", str(tmp_path))
    (tmp_path / "x").write_text("")
    parsed = parse_flags([f"--{name}", str(tmp_path / "x")])
    assert as_dict(parsed.config)[name] == str(tmp_path / "x")


@pytest.mark.parametrize("name", REFUSED)
def test_a_flag_that_is_to_come_is_refused_with_a_sentence(name):
    assert REFUSED[name].help.startswith("is to come: ")
    assert error_of(f"--{name}=1") == f"--{name} {REFUSED[name].help}\nLeave this flag out for now."


def test_all_flags_that_are_to_come_are_named_at_once():
    message = error_of("--auto_input_dataset", "a", "b", "--epochs", "3", "--noexport_savedmodel", "--vocab_file")
    first_words = [line.split()[0] for line in message.splitlines()]
    assert first_words == ["--auto_input_dataset", "--export_savedmodel", "--vocab_file", "Leave"]


@pytest.mark.parametrize("name", OBSOLETE)
def test_an_obsolete_flag_takes_its_value_and_gives_one_line(name):
    is_switch = OBSOLETE[name].type is bool
    syntaxes = [[f"--{name}=1"], [f"--{name}", "true" if is_switch else "7"]]
    syntaxes += [[f"--{name}"], [f"--no{name}"], [f"-{name}", "false"]] if is_switch else []
    for words in syntaxes:
        parsed = parse_flags([*words, "--epochs", "3"])
        assert parsed.notices == (f"--{name} {OBSOLETE[name].help}",)
        assert parsed.config.training.epochs == 3 and parsed.given == {"epochs"}


def test_dropout_rates_4_and_5_are_worth_a_line_only_if_they_are_not_zero():
    assert parse_flags(["--dropout_rate4", "0", "--dropout_rate5=0.0"]).notices == ()
    assert len(parse_flags(["--dropout_rate4", "0.1", "--dropout_rate4", "0.1"]).notices) == 1


def test_given_has_the_names_of_the_flags_that_were_set(flagfile):
    path = flagfile("--n_hidden=8\n")
    assert parse_flags(["--noshuffle", "--flagfile", path]).given == {"shuffle", "n_hidden"}


def test_flags_without_an_effect_beside_the_others_get_a_line():
    notices = parse_flags(["--train_files=a.csv", "--early_stop", "--reduce_lr_on_plateau"]).notices
    assert [notice.split()[0] for notice in notices] == ["--early_stop", "--reduce_lr_on_plateau"]
    assert parse_flags(["--train_files=a.csv", "--dev_files=b.csv", "--early_stop"]).notices == ()
    assert len(parse_flags(["--batch_seconds", "60", "--train_batch_size", "8"]).notices) == 1
    assert len(parse_flags(["--augment", "gain"]).notices) == 1
    assert parse_flags(["--augment", "gain", "--train_files=a.csv"]).notices == ()
    assert parse_flags(["--augment", "gain", "--voice_data_dir=recordings"]).notices == ()
    text = ["--voice_data_dir=recordings", "--voice_mode=text"]
    assert len(parse_flags(["--augment", "gain", *text]).notices) == 1
    (notice,) = parse_flags(["--train_files=a.csv", "--lr_schedule=plateau"]).notices
    assert notice.startswith("--lr_schedule plateau has no effect without --dev_files")
    (notice,) = parse_flags(["--reuse_characters", "--drop_source_layers", "1"]).notices
    assert notice.startswith("--drop_source_layers 1 has no effect beside --reuse_characters")


def test_a_flagfile_has_a_flag_on_each_line_with_comments_and_blank_lines(flagfile):
    path = flagfile(
        "\ufeff# a comment\r\n// another\r\n\r\n  --epochs=3  \r\n--n_hidden 8\n-early_stop false\n"
        "--noshuffle\n--summary_dir=my # folder=1\n--test_output_file my report.json\n"
    )
    config = config_of("--flagfile", path)
    assert (config.training.epochs, config.geometry.n_hidden) == (3, 8)
    assert not config.early_stop.early_stop and not config.limits.shuffle
    assert config.reporting.summary_dir == "my # folder=1"
    assert config.reporting.test_output_file == "my report.json"


def test_flags_after_a_flagfile_win_and_those_before_it_lose(flagfile):
    first, second = flagfile("--epochs=3\n--n_hidden=8\n"), flagfile("--epochs=5\n", "second.txt")
    config = config_of("--epochs=1", "--n_hidden=1", f"--flagfile={first}", f"-flagfile={second}", "--n_hidden=2")
    assert (config.training.epochs, config.geometry.n_hidden) == (5, 2)


def test_a_flagfile_in_a_flagfile_is_found_beside_it(flagfile, tmp_path):
    flagfile("--epochs=3\n", "common/base.txt")
    path = flagfile("--flagfile=../common/base.txt\n--n_hidden=8\n", "runs/first.txt")
    config = config_of("--flagfile", path, "--flagfile", str(tmp_path / "common/base.txt"))
    assert (config.training.epochs, config.geometry.n_hidden) == (3, 8)


def test_flagfiles_that_include_each_other_are_an_error_with_file_and_line(flagfile, tmp_path):
    path = flagfile("--epochs=3\n--flagfile=b.txt\n", "a.txt")
    flagfile("\n--flagfile a.txt\n", "b.txt")
    message = error_of("--flagfile", path)
    assert message.startswith(f"{tmp_path / 'b.txt'}, line 2: --flagfile a.txt: the files include each other")


def test_a_flagfile_that_is_missing_is_an_error_with_file_and_line(flagfile, tmp_path):
    path = flagfile("# first\n--flagfile=none.txt\n")
    assert error_of("--flagfile", path) == f"{path}, line 2: --flagfile none.txt: No such file or directory"
    assert error_of("--flagfile", "none.txt") == "--flagfile none.txt: No such file or directory"
    assert "Is a directory" in error_of("--flagfile", str(tmp_path))
    assert "--flagfile needs a value" in error_of("--flagfile")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--epoch=3", "unknown flag --epoch;"),
        ("--epochs=x", "--epochs x: must be a whole number"),
        ("epochs=3", "'epochs=3' is not a flag"),
        ("--epochs", "--epochs needs a value"),
        ("--vocab_file=words.txt", "--vocab_file is to come"),
        ("--train_cudnn=maybe", "--train_cudnn maybe: must be true or false"),
    ],
)
def test_a_fault_in_a_flagfile_is_named_once_with_file_and_line(flagfile, line, message):
    path = flagfile(f"--n_hidden=8\n{line}\n")
    outer = flagfile(f"--flagfile={path}\n", "outer.txt")
    assert error_of("--flagfile", outer).startswith(f"{path}, line 2: {message}")


def test_the_flags_txt_that_deepspeech_writes_is_read_without_a_word(flagfile):
    """It has all flags, those of absl too; those that are to come ask for nothing while they are at their defaults."""
    values = {**DEEPSPEECH_DEFAULTS, "alphabet_config_path": "", "n_hidden": 100, "export_license": "<SPDX name>"}
    lines = []
    for name, value in values.items():
        if isinstance(value, bool):
            lines.append(f"--{name}" if value else f"--no{name}")
        else:
            lines.append(f"--{name}={'' if value == () else value}")
    lines += ["--nohelp", "--nohelpfull", "--noonly_check_args", "--use_cprofile_for_profiling", "--noalsologtostderr"]
    lines += ["--log_dir=", "--stderrthreshold=fatal", "--showprefixforinfo", "--verbosity=-1"]
    parsed = parse_flags(["--flagfile", flagfile("\n".join(lines))])
    assert parsed.notices == ()
    assert parsed.config == dataclasses.replace(
        Config(),
        geometry=GeometryFlags(n_hidden=100),
        export=ExportFlags(export_tflite=False),  # refused only where something is exported
        decoder=DecoderFlags(lm_alpha=0.931289039105002, lm_beta=1.1834137581510284),  # as there
    )
    assert "unknown flag --verbosity" in error_of("--verbosity=1")


def test_alpha_and_beta_are_the_scorers_unless_they_are_given_with_whatever_value(flagfile):
    def given(*argv):
        decoder = config_of(*argv).decoder
        return decoder.lm_alpha, decoder.lm_beta

    alpha, beta = (str(value) for value in DEEPSPEECH_WEIGHTS.values())
    assert given() == (None, None) == given("--lm_alpha=", "--lm_beta=")
    assert given("--lm_alpha", "0") == (0.0, None)
    assert given("--lm_alpha", alpha) == (float(alpha), None)  # DeepSpeech's default is a value like any other
    assert given("--flagfile", flagfile(f"--lm_beta={beta}\n")) == (None, float(beta))
    config = config_of("--lm_alpha", alpha)
    assert given("--flagfile", flagfile("\n".join(to_flag_lines(config)))) == (float(alpha), None)
    assert as_dict(config)["lm_beta"] is None
    (notice,) = parse_flags(["--lm_alpha", "0.5"]).notices
    assert notice == "--lm_alpha has no effect without --scorer"
    assert "--lm_alpha x: must be a number" in error_of("--lm_alpha", "x")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("--help", "short"), ("-h", "short"), ("--helpshort", "short"), ("-?", "short"), ("--helpfull", "full")],
)
def test_help_is_wanted(words, wanted):
    parsed = parse_flags(["--epochs", "3", words, "--unknown"])
    assert parsed.help_wanted == wanted and not parsed.version_wanted


def test_the_version_is_wanted():
    parsed = parse_flags(["--version"])
    assert parsed.version_wanted and not parsed.help_wanted


@pytest.mark.parametrize("width", [40, 80, 200])
def test_help_names_every_flag_with_its_default(width):
    text = format_help(width, "Train.")
    for name, flag in FLAGS.items():
        assert (f"--[no]{name}" if flag.type is bool else f"--{name}") in text.split()
    for part in fields(Config):
        assert f"{part.metadata['title']}:" in text
    assert "--train_cudnn" not in text and "--vocab_file" not in text
    without_example = text.replace("\n".join(f"  {line}" for line in EXAMPLE.splitlines()), "")
    too_long = [line for line in without_example.splitlines() if len(line) > width]
    assert all(len(line.split()) == 1 for line in too_long)  # a word that is wider than the screen


def test_full_help_has_the_obsolete_flags_and_those_to_come():
    text = format_help(80, "Train.", full=True)
    assert text.startswith(format_help(80, "Train.").rstrip("\n"))
    assert all(f"--{name} " in text for name in {**OBSOLETE, **REFUSED})


def test_the_example_in_the_help_is_a_command_line_that_works():
    program, command, *argv = shlex.split(EXAMPLE.replace("\\\n", " "))
    assert (program, command) == ("deepspeech", "train")
    parsed = parse_flags(argv)
    assert parsed.config.data.train_files == ("train.csv",) and parsed.notices == ()


def configs():
    texts = st.text(max_size=12).map(lambda text: text.replace("\n", "").replace("\r", "").strip())
    paths = texts.map(lambda text: text.replace("~", "").strip())

    def values(name, flag):
        if name == "audio_sample_rate":
            return st.sampled_from([8000, 16000, 48000])  # any window of whole ms is whole samples
        # With these, flags are checked together.
        if flag.path in ("file", "output") or name in (
            "export_dir",
            "reuse_characters",
            "normalise_features",
            "train_scorer",
        ):
            return st.just(flag.default)
        if flag.type is tuple and flag.choices:
            return st.lists(st.sampled_from(tuple(flag.choices)), max_size=3).map(tuple)
        if flag.choices:
            return st.sampled_from(tuple(flag.choices))
        if flag.type is bool:
            return st.booleans()
        if flag.type is int:
            return st.integers(flag.at_least, flag.at_most if flag.at_most is not None else LARGEST_INT)
        if flag.type is float:
            low, high = (
                b if b is not None else c for b, c in ((flag.at_least, flag.above), (flag.at_most, flag.below))
            )
            numbers = st.floats(low, high, allow_nan=False, allow_infinity=False).filter(flag.allows)
            return st.none() | numbers if flag.default is None else numbers
        if name == "augment":
            augmentations = st.sampled_from(["pitch[p=0.1,pitch=1~0.2]", "codec", "overlay[source=a folder/b=c.csv]"])
            return st.lists(augmentations, max_size=3).map(tuple)
        if flag.placeholder:
            return texts.filter(lambda text: not text.startswith("<"))
        if flag.alone:
            return texts.filter(lambda text: text.lower() not in SWITCH_WORDS)
        if flag.type is tuple:
            return st.lists(paths.filter(bool), max_size=3).map(tuple)
        return paths if flag.path else texts

    written = {name: flag for name, flag in FLAGS.items() if not flag.private}
    return st.builds(from_dict, st.fixed_dictionaries({}, optional={n: values(n, flag) for n, flag in written.items()}))


def test_the_size_of_a_conformer_stands_for_the_flags_that_are_not_given():
    def shape(*words):
        parsed = parse_flags(["--network", "conformer", *words])
        geometry = parsed.config.geometry
        return (geometry.d_model, geometry.layers), parsed.given - {"network"}

    assert shape() == ((176, 12), set())
    assert shape("--conformer_size", "xs") == ((144, 8), {"conformer_size", "d_model", "layers"})
    assert shape("--layers", "3", "--conformer_size", "m")[0] == (256, 3)


@pytest.mark.parametrize(
    ("network", "words", "named"),
    [
        ("deepspeech", ["--conformer_size", "m"], "--conformer_size: not with --network deepspeech"),
        ("deepspeech", ["--heads", "4", "--kernel", "3"], "--heads, --kernel: not with"),
        ("conformer", ["--n_hidden", "512"], "--n_hidden: not with --network conformer"),
        ("conformer", ["--dropout_rate2", "0"], "--dropout_rate2: not with"),
        ("conformer", ["--heads", "5"], "--heads 5: must divide --d_model 176"),
        ("conformer", ["--kernel", "8"], "--kernel 8: must be odd"),
    ],
)
def test_flags_of_the_other_network_and_impossible_geometries_are_refused(network, words, named):
    parsed = parse_flags(["--network", network, *words])
    with pytest.raises(FlagError, match=named):
        check_network(parsed.config, parsed.given)


@settings(deadline=None)  # the machine may be busy
@given(configs())
def test_flag_lines_and_json_read_back_to_the_same_config(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "round-trip-flags.txt"
    path.write_text("\n".join(to_flag_lines(config)) + "\n", encoding="utf-8", newline="\n")
    parsed = parse_flags(["--flagfile", str(path)])
    others = flags_of_others(config.geometry.network)  # which mean nothing in this run
    at_default = {name: FLAGS[name].default for name in others}
    assert parsed.config.replace(**at_default) == config.replace(**at_default)
    assert parsed.given == set(FLAGS) - others - set(PRIVATE)
    assert parse_flags(to_flag_lines(config)).config == parsed.config
    assert from_dict(json.loads(json.dumps(as_dict(config)))) == config


@pytest.mark.parametrize(
    "values",
    [
        {"epoch": 3},
        {"epochs": "3"},
        {"epochs": True},
        {"epochs": -1},
        {"early_stop": 1},
        {"train_files": "a.csv"},
        {"train_files": [1]},
        {"load_train": "bset"},
        {"freeze_layers": [4]},
        {"learning_rate": float("nan")},
    ],
)
def test_a_dict_with_an_unknown_name_or_a_wrong_value_is_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        from_dict(values)


def test_a_whole_number_in_json_is_good_for_a_float_flag():
    value = from_dict({"learning_rate": 1}).optimizer.learning_rate
    assert value == 1.0 and type(value) is float


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.epochs = 3


def test_checkpoint_folders_default_to_one_another():
    assert CheckpointFlags().load_dir == CheckpointFlags().save_dir == Path("persistent-data/checkpoints")
    flags = CheckpointFlags(checkpoint_dir="both", load_checkpoint_dir="old")
    assert (flags.load_dir, flags.save_dir) == (Path("old"), Path("both"))
    assert CheckpointFlags(checkpoint_dir="both", save_checkpoint_dir="new").save_dir == Path("new")


def test_the_flags_page_is_fresh():
    # In a process of its own: here other tests may have put networks of theirs into the table.
    program = "from deepspeech_training.config.help import flags_markdown; print(flags_markdown(), end='')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == done.stdout


def test_the_flags_page_has_every_flag_in_tables_of_whole_rows():
    page = flags_markdown()
    assert all(f"| `--{name}` |" in page for name in {**FLAGS, **OBSOLETE, **REFUSED})
    assert {line.count("|") for line in page.splitlines() if line.startswith("|")} == {5, 3}


def test_make_docs_writes_the_pages_and_check_says_which_are_stale(tmp_path, capsys):
    shutil.copytree(ROOT / "docs" / "augmentations", tmp_path / "augmentations")
    assert run("docs", ["--check", "--docs_dir", str(tmp_path)]) == 1
    assert "docs/flags.md is not fresh" in capsys.readouterr().err
    assert run("docs", ["--docs_dir", str(tmp_path)]) == 0
    assert run("docs", ["--check", "--docs_dir", str(tmp_path)]) == 0
    (tmp_path / "flags.md").write_text("old")
    assert run("docs", ["--check", "--docs_dir", str(tmp_path)]) == 1


@pytest.mark.slow
def test_make_docs_draws_the_pictures_that_are_stale(tmp_path, capsys):
    shutil.copytree(ROOT / "docs" / "augmentations", tmp_path / "augmentations")
    picture = tmp_path / "augmentations" / "gain.png"
    picture.write_bytes(b"another picture")
    assert run("docs", ["--check", "--docs_dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "docs/augmentations/gain.png is not fresh" in said and "clip.png" not in said
    assert run("docs", ["--docs_dir", str(tmp_path)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("docs", ["--check", "--docs_dir", str(tmp_path)]) == 0


def test_flags_are_read_without_tensorflow_and_numpy():
    code = (
        "import sys; sys.modules.update(tensorflow=None, keras=None, numpy=None); "
        "from deepspeech_training.config import parse_flags; parse_flags(['--epochs', '3'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--noexport_tflite"], "--noexport_tflite: models are exported as .tflite only"),
        (["--export_batch_size", "2"], "--export_batch_size 2: the clients feed one stream"),
        (["--export_file_name", "a/b"], "--export_file_name 'a/b': it is part of a file name"),
        (["--export_model_version="], "--export_model_version '': it is part of a file name"),
    ],
)
def test_what_cannot_be_exported_is_refused_where_something_is_exported(words, message):
    assert message in error_of("--export_dir", "out", *words)
    assert parse_flags(words).config.export.export_dir == ""


def test_a_text_in_angle_brackets_is_a_placeholder_of_the_card():
    assert config_of("--export_license", "<SPDX identifier>").card.export_license == ""
    assert config_of("--export_license", "MPL-2.0").card.export_license == "MPL-2.0"


def test_a_preset_sets_what_is_not_given():
    parsed = parse_flags(["--preset", "small", "--epochs", "7"])
    config = parsed.config
    assert (config.training.epochs, config.geometry.n_hidden, config.batches.dev_batch_size) == (7, 512, 16)
    assert config.early_stop.early_stop and config.early_stop.es_min_delta == 0
    assert parsed.given == {"preset", "epochs"}
    assert parse_flags(["--epochs", "7"]).config.geometry.n_hidden == 2048


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_a_preset_is_allowed_and_early_stopping_waits(name):
    values = PRESETS[name].values
    assert {**as_dict(config_of("--preset", name)), **values} == as_dict(config_of("--preset", name))
    assert values["min_epochs"] >= 10 and values["plateau_epochs"] < values["es_epochs"] < values["epochs"]
    assert from_dict({"preset": name} | dict(values)) == config_of("--preset", name)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_values_of_its_own_for_a_conformer(name):
    values = PRESETS[name].conformer
    parsed = parse_flags(["--preset", name, "--network", "conformer", "--dropout_rate", "0.2"])
    assert as_dict(parsed.config) == as_dict(from_dict({"preset": name, "network": "conformer"} | values)) | {
        "dropout_rate": 0.2
    }
    assert not parsed.config.early_stop.early_stop  # the last epochs of a cosine are its best
    check_network(parsed.config, parsed.given)


def test_a_size_that_is_given_beside_a_preset_counts():
    config = config_of("--preset", "tiny", "--network", "conformer", "--conformer_size", "m", "--layers", "3")
    assert (config.geometry.d_model, config.geometry.layers) == (256, 3)


def test_a_preset_is_that_of_the_network_of_the_checkpoint():
    parsed = parse_flags(["--preset", "tiny", "--epochs", "9"])
    asked = parse_flags(["--preset", "tiny", "--epochs", "9", "--network", "conformer"]).config
    config = parsed.config.with_preset_for("conformer", parsed.given)
    assert config.replace(network="conformer") == asked
    assert parsed.config.with_preset_for("deepspeech", parsed.given) == parsed.config


def test_the_presets_cover_every_amount_of_data():
    spans = [preset.hours for preset in PRESETS.values()]
    assert spans[0][0] == 0 and spans[-1][1] == float("inf")
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def yaml_config(tmp_path, text: str):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return ["--config", str(path)]


def test_a_yaml_file_gives_flags_and_the_command_line_counts_instead(tmp_path):
    argv = yaml_config(
        tmp_path,
        "# a run\nepochs: 30\nlearning_rate: 1e-4\nearly_stop: true\nshuffle: false\n"
        "train_files: [a.csv, 'b c.csv']\ndev_files:\n  - d.csv\nexport_model_version: 0.10\n",
    )
    for words in ([*argv, "--epochs", "5"], ["--epochs", "5", *argv]):
        parsed = parse_flags(words)
        config = parsed.config
        assert (config.training.epochs, config.optimizer.learning_rate) == (5, 1e-4)
        assert config.early_stop.early_stop and not config.limits.shuffle
        assert config.data.train_files == ("a.csv", "b c.csv") and config.data.dev_files == ("d.csv",)
        assert config.card.export_model_version == "0.10"  # as it was written, not as a number
        assert {"epochs", "shuffle", "train_files"} <= parsed.given
    assert parse_flags(yaml_config(tmp_path, "")).config == Config()


SWITCH_WORDS = ("true", "yes", "on", "false", "no", "off")  # in YAML


def test_augmentations_are_a_list_in_yaml_and_the_cache_is_switched_there(tmp_path):
    text = "feature_cache: true\naugment:\n  - gain[db=3]\n  - noise[p=0.7,snr=30~20]\n"
    found = config_of(*yaml_config(tmp_path, text)).augmentation
    assert found.augment == ("gain[db=3]", "noise[p=0.7,snr=30~20]")
    assert found.feature_cache == "persistent-data/caches/audio"
    assert config_of(*yaml_config(tmp_path, "augment: 'noise[p=0.7,snr=30~20]'\n")).augmentation.augment == (
        "noise[p=0.7,snr=30~20]",
    )
    again = config_of(*yaml_config(tmp_path, text), "--augment", "codec", "--nofeature_cache").augmentation
    assert (again.augment, again.feature_cache) == (("codec",), "")
    for word in SWITCH_WORDS:
        found = config_of(*yaml_config(tmp_path, f"feature_cache: {word}\n")).augmentation.feature_cache
        assert found == ("persistent-data/caches/audio" if word in ("true", "yes", "on") else "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: 3\nepoks: 4\n", "run.yaml, line 2: unknown flag --epoks; did you mean --epochs"),
        ("epochs: many\n", "run.yaml, line 1: --epochs many: must be a whole number"),
        ("epochs: 3\nepochs: 4\n", "line 2: epochs stands there twice"),
        ("noshuffle: true\n", "line 1: noshuffle: write shuffle: false"),
        ("epochs:\n", "line 1: epochs has no value"),
        ("epochs: {a: 1}\n", "line 1: a value is one word"),
        ("train_files: [[a]]\n", "line 1: a value is one word"),
        ("epochs: 3\naugment: [gain, pich]\n", "--augment pich: there is no augmentation 'pich'"),
        ("- epochs\n", "must be lines such as"),
        ("epochs: [\n", "is not YAML"),
        ("epochs: 3\n\tx: 4\n", "line 2: is not YAML"),
        ("config: other.yaml\n", "unknown flag --config"),
        ("a: !!python/object/apply:os.system ['true']\n", "unknown flag --a"),
        ("vocab_file: words.txt\n", "is to come"),
    ],
)
def test_what_is_wrong_in_a_yaml_file_is_told_with_its_line(tmp_path, text, words):
    with pytest.raises(FlagError) as caught:
        parse_flags(yaml_config(tmp_path, text))
    assert words in str(caught.value)


def test_a_yaml_file_may_name_a_preset_and_is_told_where_it_is_missing(tmp_path):
    assert config_of(*yaml_config(tmp_path, "preset: tiny\nn_hidden: 99\n")).geometry.n_hidden == 99
    with pytest.raises(FlagError, match=r"--config nowhere\.yaml: No such file"):
        parse_flags(["--config", "nowhere.yaml"])


def test_the_output_dir_has_a_place_for_everything():
    checkpoint = config_of("--output_dir", "out").checkpoint
    assert (checkpoint.save_dir, checkpoint.load_dir) == (Path("out/checkpoints"), Path("out/checkpoints"))
    assert checkpoint.logs_dir == Path("out/logs")
    checkpoint = config_of("--output_dir", "out", "--checkpoint_dir", "c").checkpoint
    assert (checkpoint.save_dir, checkpoint.logs_dir) == (Path("c"), Path("out/logs"))
    assert config_of("--checkpoint_dir", "c").checkpoint.logs_dir == Path("c/logs")


def test_layers_are_frozen_by_name_and_never_all():
    layers = ("first", "second", "third")

    def refused(*words) -> str:
        with pytest.raises(FlagError) as caught:
            check_layers(config_of(*words), layers)
        return str(caught.value)

    check_layers(config_of("--freeze_layers", "first, third"), layers)
    wrong = refused("--freeze_layers", "first,secnd")
    assert "must be some of first, second" in wrong and wrong.endswith("did you mean second?")
    assert "nothing left to train" in refused("--freeze_layers", "third,first,second")
    assert "leave one out" in refused("--freeze_layers", "first", "--normalise_features")
    check_layers(config_of("--freeze_layers", "second", "--normalise_features", "--drop_source_layers", "2"), layers)
    assert "it must be at most 2" in refused("--drop_source_layers", "3")


def test_what_cannot_be_dropped_or_taken_from_a_source_is_refused():
    assert "bytes are no characters" in error_of("--reuse_characters", "--bytes_output_mode")
    assert config_of("--drop_source_layers", "1", "--reuse_characters").transfer.reuse_characters
    assert "above a layer that is new" in error_of("--drop_source_layers", "2", "--reuse_characters")


def test_a_warm_up_that_is_longer_than_the_run_is_told():
    words = ["--train_files", "a.csv", "--warmup_epochs", "4"]
    assert parse_flags([*words, "--epochs", "4"]).notices == ()
    (notice,) = parse_flags([*words, "--epochs", "3"]).notices
    assert notice.startswith("--warmup_epochs 4 is more than --epochs 3")


@pytest.mark.parametrize("other", [("--scorer", "a.scorer"), ("--beam_width", "0")])
def test_a_scorer_of_the_training_transcripts_is_the_only_one_and_needs_a_beam(tmp_path, other):
    (tmp_path / "a.scorer").touch()
    words = [str(tmp_path / word) if word == "a.scorer" else word for word in other]
    assert "--train_scorer" in error_of("--train_scorer", *words)


def test_a_name_with_a_comma_stands_in_double_quotes(tmp_path):
    argv = ["--train_files", '"a,b.csv",c.csv', "--test_files", '"say ""hi"".csv"']
    data = parse_flags(argv).config.data
    assert data.train_files == ("a,b.csv", "c.csv") and data.test_files == ('say "hi".csv',)
    path = tmp_path / "run.yaml"
    path.write_text("train_files: ['a,b.csv', c.csv]\n")
    assert parse_flags(["--config", str(path)]).config.data.train_files == ("a,b.csv", "c.csv")


def test_a_comma_in_the_name_of_a_file_is_told_with_the_way_to_write_it(tmp_path):
    path = tmp_path / "a,b.csv"
    path.write_text("")
    with pytest.raises(FlagError) as caught:
        parse_flags(["--train_files", str(path)])
    assert "double quotes" in str(caught.value) and f"'\"{path}\"'" in str(caught.value)


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    argv = ["--train_files=~/a.csv,~/b.csv", "--checkpoint_dir=~/run", "--export_dir", "~/out"]
    config = parse_flags(argv).config
    assert config.data.train_files == ("/home/somebody/a.csv", "/home/somebody/b.csv")
    assert str(config.checkpoint.save_dir) == "/home/somebody/run" and config.export.export_dir == "/home/somebody/out"


def test_an_output_that_cannot_be_written_is_found_before_the_training(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        parse_flags(["--test_output_file", str(tmp_path / "no" / "results.json")])
