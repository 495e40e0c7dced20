"""What the app finds to train on, and with which flags, without starting anything."""

import csv
import re
from pathlib import Path

import pytest
from training.processes import ROOT, make_corpus, transcripts, write_csv

from deepspeech_training.app.order import RECIPE, RECIPE_OF_COMMANDS, RECIPE_OF_SENTENCES, SENTENCES, find_order
from deepspeech_training.app.volume import Volume, VolumeLock
from deepspeech_training.config import parse_flags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError


def order_of(volume: Path, **environment: str):
    return find_order(Volume(volume), environment, "speech", Console())


def config_of(order):
    return parse_flags(order.words).config


def speakers_of(path: str) -> set[str]:
    with open(path, encoding="utf-8", newline="") as file:
        return {row["client_id"] for row in csv.DictReader(file)}


def with_speakers(csv_path: str, number: int) -> None:
    """Give the rows of a CSV a speaker each in turn."""
    rows = Path(csv_path).read_text(encoding="utf-8").splitlines()
    lines = [f"{rows[0]},speaker"] + [f"{row},person {index % number}" for index, row in enumerate(rows[1:])]
    Path(csv_path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_nothing_is_found_in_an_empty_volume(tmp_path):
    assert order_of(tmp_path) is None
    (tmp_path / "corpora" / "mine").mkdir(parents=True)
    assert order_of(tmp_path) is None


def test_missing_sets_are_divided_by_speaker_and_no_speaker_is_in_two(tmp_path):
    with_speakers(make_corpus(tmp_path / "corpora" / "mine", transcripts(30), name="train.csv"), 10)
    config = config_of(order_of(tmp_path))
    sets = [speakers_of(files[0]) for files in (config.data.train_files, config.data.dev_files, config.data.test_files)]
    assert sorted(map(len, sets)) == [1, 1, 8] and set.union(*sets) == {f"person {n}" for n in range(10)}


def test_a_set_that_is_there_stays_as_it_is(tmp_path):
    corpus = tmp_path / "corpora" / "mine"
    with_speakers(make_corpus(corpus, transcripts(30), name="train.csv"), 10)
    dev = make_corpus(corpus, transcripts(4), name="dev.csv")
    config = config_of(order_of(tmp_path))
    assert config.data.dev_files == (dev,)
    assert len(speakers_of(config.data.train_files[0])) == 9 and len(speakers_of(config.data.test_files[0])) == 1


def test_csvs_of_several_corpora_are_trained_on_together(tmp_path):
    found = {name: make_corpus(tmp_path / "corpora" / name, transcripts(3), name="train.csv") for name in "ab"}
    for name in ("dev.csv", "test.csv"):
        make_corpus(tmp_path / "corpora" / "a", transcripts(3), name=name)
    assert config_of(order_of(tmp_path)).data.train_files == (found["a"], found["b"])


def test_recordings_with_texts_beside_them_are_enough(tmp_path):
    folder = tmp_path / "corpora" / "recordings"
    texts = ["She had!", "your dark", "suit"]
    make_corpus(folder, ["she had", "your dark", "suit"])
    for number, text in enumerate(texts):
        (folder / f"clips-{number:02}.txt").write_text(text, encoding="utf-8")
    (folder / "clips.csv").unlink()
    order = order_of(tmp_path)
    config = config_of(order)
    with open(config.data.train_files[0], encoding="utf-8", newline="") as file:
        assert sorted(row["transcript"] for row in csv.DictReader(file)) == ["she had", "suit", "your dark"]
    assert Path(config.decoder.alphabet_config_path).read_text(encoding="utf-8").split() == sorted(
        {*"shehadyourdarksuit"}
    )


def test_commands_of_one_word_get_a_space_in_their_alphabet_which_their_scorer_needs(tmp_path):
    make_corpus(tmp_path / "corpora" / "mine", ["stop", "go"] * 3, name="train.csv")
    order = order_of(tmp_path)
    assert "--train_scorer" in order.words
    lines = Path(config_of(order).decoder.alphabet_config_path).read_text(encoding="utf-8").splitlines()
    assert " " in lines and set("stopg") <= set(lines)


def test_an_alphabet_beside_the_csvs_is_taken(tmp_path):
    corpus = tmp_path / "corpora" / "mine"
    make_corpus(corpus, transcripts(3), name="train.csv")
    (corpus / "alphabet.txt").write_text("\n".join(" abcdefghijklmnopqrstuvwxyz") + "\n", encoding="utf-8")
    assert config_of(order_of(tmp_path)).decoder.alphabet_config_path == str(corpus / "alphabet.txt")
    make_corpus(tmp_path / "corpora" / "other", transcripts(3), name="train.csv")
    (tmp_path / "corpora" / "other" / "alphabet.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(UserError, match="two alphabets"):
        order_of(tmp_path)


def test_flags_come_from_the_environment_else_from_the_volume(tmp_path):
    make_corpus(tmp_path / "corpora" / "mine", transcripts(3), name="train.csv")
    (tmp_path / "config.yaml").write_text("epochs: 7\n", encoding="utf-8")
    assert config_of(order_of(tmp_path)).training.epochs == 7
    (tmp_path / "train.flags").write_text("--epochs 8\n", encoding="utf-8")
    assert config_of(order_of(tmp_path)).training.epochs == 8
    assert config_of(order_of(tmp_path, TRAIN_FLAGS="--epochs 9")).training.epochs == 9
    with pytest.raises(FlagError, match="TRAIN_FLAGS"):
        order_of(tmp_path, TRAIN_FLAGS="--epochs '9")


def test_little_data_has_the_settings_of_run_commands_unless_flags_say_otherwise(tmp_path):
    make_corpus(tmp_path / "corpora" / "mine", ["yes", "no"] * 3, name="train.csv")
    order = order_of(tmp_path)
    assert "run-commands" in order.preset
    assert config_of(order).training.epochs == 300 and config_of(order).decoder.train_scorer  # steps of 4 clips
    assert order.scorer == str(order.folder / "train.scorer")
    (tmp_path / "train.flags").write_text("--epochs 3\n", encoding="utf-8")
    order = order_of(tmp_path)
    assert order.preset == "" and not config_of(order).decoder.train_scorer


def test_sentences_have_the_settings_of_their_script(tmp_path):
    clip = tmp_path / "clips" / "clips-00.wav"
    make_corpus(clip.parent, ["yes"])
    said = [f"number {number}".translate(str.maketrans("0123456789", "abcdefghij")) for number in range(SENTENCES)]
    (tmp_path / "corpora").mkdir()
    path = tmp_path / "corpora" / "train.csv"
    write_csv(path, [(clip, clip.stat().st_size, text) for text in said])
    write_csv(path.with_name("dev.csv"), [(clip, clip.stat().st_size, "yes")])
    write_csv(path.with_name("test.csv"), [(clip, clip.stat().st_size, "yes")])
    order = order_of(tmp_path)
    config = config_of(order)
    assert "run-an4.sh" in order.preset and config.geometry.layer_norm and not config.decoder.train_scorer
    script = (ROOT / "bin" / "run-an4.sh").read_text(encoding="utf-8").replace("'", "")
    parts = [script.partition(start)[2].partition(")\n")[0] for start in ("flags=(", "recipe=(", "else\n")]
    lines = [line for part in parts for line in part.splitlines() if not line.strip().startswith("#")]
    words = " ".join(lines).replace("recipe+=(", "").replace("--train_scorer ", "").split()
    assert words == RECIPE_OF_SENTENCES


def test_a_conformer_has_the_settings_of_its_preset(tmp_path):
    make_corpus(tmp_path / "corpora" / "mine", ["yes", "no"] * 3, name="train.csv")
    order = order_of(tmp_path, TRAIN_FLAGS="--network conformer")
    config = config_of(order)
    assert "--preset tiny" in order.preset and config.geometry.network == "conformer"
    assert config.optimizer.lr_schedule == "cosine" and not config.decoder.train_scorer
    assert config_of(order_of(tmp_path, TRAIN_FLAGS="--network conformer --heads 0")).geometry.heads == 0


def test_the_settings_for_little_data_are_those_of_the_script():
    script = (ROOT / "bin" / "run-commands.sh").read_text(encoding="utf-8")
    words = script.partition('DeepSpeech.py" \\\n')[2].partition('"$@"')[0].replace("\\\n", " ").replace("'", "")
    assert words.split() == RECIPE


def test_commands_in_the_corpora_have_the_settings_of_their_script_and_no_alphabet(tmp_path):
    path = make_corpus(tmp_path / "corpora" / "mine", ["yes", "no"] * 3, name="train.csv")
    asked = "--task spoken_command --labels yes,no"
    order = order_of(tmp_path, TRAIN_FLAGS=asked)
    config = config_of(order)
    assert config.data.train_files == (str(path),) and config.training.epochs == 60
    assert not config.decoder.alphabet_config_path and "run-speech-commands.sh" in order.preset
    assert "--dev_files=" in order.export(tmp_path)
    other = order_of(tmp_path, TRAIN_FLAGS=f"{asked} --epochs 3 --other_speech_files other.csv")
    assert config_of(other).augmentation.augment == () and "--dev_files=" not in other.export(tmp_path)
    script = (ROOT / "bin" / "run-speech-commands.sh").read_text(encoding="utf-8")
    words = script.partition('DeepSpeech.py" \\\n')[2].partition('"$@"')[0].replace("\\\n", " ").replace("'", "")
    assert words.split() == ["--task", "spoken_command", *RECIPE_OF_COMMANDS]


def test_other_data_or_flags_are_another_training_and_the_same_again_is_the_same(tmp_path):
    path = make_corpus(tmp_path / "corpora" / "mine", transcripts(3), name="train.csv")
    first = order_of(tmp_path)
    assert order_of(tmp_path).folder == first.folder
    (tmp_path / "train.flags").write_text("--epochs 3\n", encoding="utf-8")
    second = order_of(tmp_path)
    assert second.fingerprint != first.fingerprint and re.fullmatch(r"speech-[0-9a-f]{8}", second.folder.name)
    with open(path, encoding="utf-8", newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    write_csv(Path(path), rows[:2])
    assert order_of(tmp_path).fingerprint not in (first.fingerprint, second.fingerprint)


def test_who_is_told_of_a_training_is_no_part_of_it_and_goes_to_its_environment(tmp_path):
    make_corpus(tmp_path / "corpora" / "mine", transcripts(3), name="train.csv")
    plain = order_of(tmp_path, TRAIN_FLAGS="--epochs 3")
    told = order_of(
        tmp_path, TRAIN_FLAGS="--epochs 3 --notify json://t0ken json://b --mlflow=http://t0ken@h --wandb digits"
    )
    assert told.fingerprint == plain.fingerprint and told.words == plain.words and plain.variables == {}
    assert told.variables == {
        "DEEPSPEECH_NOTIFY": "json://t0ken json://b",
        "DEEPSPEECH_MLFLOW": "http://t0ken@h",
        "DEEPSPEECH_WANDB": "digits",
    }
    (tmp_path / "train.flags").write_text("--epochs=3\n--notify=json://t0ken\n", encoding="utf-8")
    fingerprint = order_of(tmp_path).fingerprint
    (tmp_path / "train.flags").write_text("--epochs=3\n", encoding="utf-8")
    assert order_of(tmp_path).fingerprint == fingerprint
    with pytest.raises(FlagError) as caught:
        order_of(tmp_path, TRAIN_FLAGS="--notify 'json://t0ken")
    assert "t0ken" not in str(caught.value)


def test_rows_that_cannot_be_used_are_named(tmp_path):
    path = make_corpus(tmp_path / "corpora" / "mine", transcripts(3), name="train.csv")
    with open(path, "a", encoding="utf-8") as file:
        file.write("gone.wav,1,she\n")
    with pytest.raises(UserError, match=r"1 of 4 rows .*\n.*train.csv, row 5: gone.wav"):
        order_of(tmp_path)
    (tmp_path / "train.flags").write_text("--on_bad_row drop\n", encoding="utf-8")
    assert order_of(tmp_path) is not None


def test_recordings_without_any_transcript_are_a_fault(tmp_path):
    make_corpus(tmp_path / "corpora" / "mine", transcripts(2))
    (tmp_path / "corpora" / "mine" / "clips.csv").unlink()
    with pytest.raises(UserError, match="no transcript for any"):
        order_of(tmp_path)


def test_a_volume_is_locked_once_and_free_again(tmp_path):
    one, other = VolumeLock(Volume(tmp_path)), VolumeLock(Volume(tmp_path))
    assert one.take() and one.take() and not other.take()
    one.release()
    assert other.take()
    other.release()


def test_a_volume_that_cannot_be_written_is_told():
    with pytest.raises(UserError, match=r"/proc: nothing can be written there"):
        VolumeLock(Volume(Path("/proc"))).take()


def test_the_signature_of_a_volume_changes_with_its_data_and_flags(tmp_path):
    volume = Volume(tmp_path)
    seen = {volume.signature()}
    (tmp_path / "train.flags").write_text("--epochs 3\n", encoding="utf-8")
    seen.add(volume.signature())
    make_corpus(tmp_path / "corpora" / "mine", transcripts(2))
    seen.add(volume.signature())
    (tmp_path / "checkpoints").mkdir()
    seen.add(volume.signature())
    assert len(seen) == 3
