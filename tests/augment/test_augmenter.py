import numpy as np
import pytest
import soundfile

from deepspeech_training.augment.augmenter import Augmenter, StepDraws
from deepspeech_training.augment.catalogue import AUGMENTATIONS, parse_augmentations
from deepspeech_training.augment.waveform import WAVEFORM
from deepspeech_training.data.loader import ArraySpec, BatchSpec, Loader
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.errors import FlagError
from deepspeech_training.features.geometry import FeatureGeometry

GEOMETRY = FeatureGeometry()
DRAWS = {"keys": "uint32", "clock": "float32", "needed_frames": "int32"}
SPEC = BatchSpec(
    {
        "audio": ArraySpec("float32", (None,), "num_samples"),
        **{name: ArraySpec(dtype, in_training=True) for name, dtype in DRAWS.items()},
    },
    cost="num_samples",
)


def sample(number: int) -> SpeechSample:
    return SpeechSample(f"train.csv:{number}", f"/{number}.wav", 1, "ab", (0, 1), 1, None, number, "train.csv")


def clip_of(number: int, seconds: float = 0.3) -> np.ndarray:
    generator = np.random.default_rng(number)
    audio = (0.1 * generator.standard_normal(round(16000 * seconds) + number)).astype(np.float32)
    audio.flags.writeable = False  # the loader keeps it for the next epoch
    return audio


def augmenter(*texts: str, seed: int = 1) -> Augmenter:
    return Augmenter(parse_augmentations(texts), GEOMETRY, seed=seed)


@pytest.fixture
def everything(tmp_path) -> list[str]:
    """Every augmentation of waveforms, with p below 1."""
    folder = tmp_path / "noise"
    folder.mkdir()
    for number in range(3):
        audio = 0.1 * np.random.default_rng(number).standard_normal(3000 + 500 * number)
        soundfile.write(folder / f"{number}.wav", audio, 16000)
    texts = []
    for name in WAVEFORM:
        kind = AUGMENTATIONS[name]
        parameters = ["p=0.7", *(["domain=signal"] if "signal" in kind.domains else [])]
        texts.append(f"{name}[{','.join(parameters + ([f'source={folder}'] if 'source' in kind.parameters else []))}]")
    return texts


def batches(texts, *, threads: int, epoch: int = 2, skip: int = 0):
    augment = augmenter(*texts)
    planned = [[sample(3 * batch + k) for k in range(3)] for batch in range(6)]

    def augmented(number, s, example):
        clock = (epoch + (skip + number) / 6) / 5
        audio, draws = augment(s.id, example["audio"], needed_frames=2, epoch=epoch, clock=clock)
        return {"audio": audio, **draws._asdict()}

    with Loader(lambda s: {"audio": clip_of(s.row)}, SPEC, threads=threads, keep_bytes=1 << 30) as loader:
        yield from loader.batches(planned[skip:], augment=augmented)


def test_what_is_drawn_does_not_depend_on_the_threads_or_on_where_a_run_goes_on(everything):
    one, eight, resumed = (
        list(batches(everything, **how)) for how in ({"threads": 1}, {"threads": 8}, {"threads": 3, "skip": 2})
    )
    for first, second in [*zip(one, eight, strict=True), *zip(one[2:], resumed, strict=True)]:
        assert first.arrays.keys() == second.arrays.keys() == SPEC.of_batch(training=True).keys()
        for name in first.arrays:
            np.testing.assert_array_equal(first.arrays[name], second.arrays[name])


def test_seed_epoch_clip_and_place_on_the_command_line_change_what_is_drawn():
    clip = clip_of(0)

    def audio(augment, sample_id="a:1", epoch=0):
        return augment(sample_id, clip, needed_frames=2, epoch=epoch, clock=0.0)[0].tobytes()

    noise = augmenter("noise")
    found = [
        audio(noise),
        audio(noise, "a:2"),
        audio(noise, epoch=1),
        audio(augmenter("noise", seed=2)),
        audio(augmenter("volume[p=0]", "noise")),
    ]
    assert len(set(found)) == 5 and audio(noise) == found[0]


def test_an_augmentation_is_applied_with_its_probability():
    augment = augmenter("volume[p=0.3]")
    clip = clip_of(0, 0.1)
    applied = [augment(f"a:{k}", clip, needed_frames=2, epoch=0, clock=0)[0] is not clip for k in range(2000)]
    assert np.mean(applied) == pytest.approx(0.3, abs=0.03)


def test_those_of_the_sample_come_before_those_of_the_signal():
    augment = augmenter("time_mask[domain=signal,n=1,size=20]", "noise[snr=0]")
    audio, _ = augment("a", clip_of(0), needed_frames=2, epoch=0, clock=0)
    assert (audio == 0).sum() == 320


def test_a_clip_that_would_be_too_short_for_its_transcript_stays_as_it_is():
    audio = clip_of(0, 1.0)
    assert GEOMETRY.num_frames(len(audio)) == 49
    for text, length in (("speed[factor=1.2]", 13333), ("speed[factor=1.3]", 16000)):
        assert len(augmenter(text)("a", audio, needed_frames=39, epoch=0, clock=0)[0]) == length


def test_no_clip_gets_longer_than_is_reckoned_with():
    texts = ("speed[factor=1~0.3]", "silence[before=50~50,after=100]")
    augment = augmenter(*texts)
    lengths = [len(augment(f"a:{k}", clip_of(0), needed_frames=2, epoch=0, clock=0)[0]) for k in range(100)]
    assert 4800 < max(lengths) <= augment.longest(4800)
    assert augmenter(*texts, "tempo[factor=0.5]").longest(4800) == 2 * augment.longest(4800)
    assert augmenter("noise", "tempo[factor=2]", "speed[factor=2]").longest(4800) == 4800
    longest, draws = augment.lengthened(clip_of(0))
    assert len(longest) == augment.longest(4800) and not longest[4800:].any()
    assert draws.needed_frames > GEOMETRY.num_frames(24 * 3600 * 16000)  # the step leaves its length alone


def test_the_draws_of_the_step_have_their_own_types():
    draws = StepDraws.of(bytes([0x78, 0x56, 0x34, 0xF2] + [0] * 12), clock=0.25, needed_frames=39)
    assert draws == (0xF2345678, 0.25, 39)
    assert {name: value.dtype for name, value in draws._asdict().items()} == DRAWS


def test_a_batch_without_some_clips_keeps_the_draws_of_the_others(everything):
    batch = next(batches(everything, threads=2))
    kept = batch.without([batch.samples[1].id])
    for name in DRAWS:
        np.testing.assert_array_equal(kept.arrays[name], batch.arrays[name][[0, 2]])
    assert batch.without([s.id for s in batch.samples]).samples == ()


def test_sources_are_folders_lists_and_files(tmp_path, make_wav):
    make_wav(tmp_path / "deep" / "er" / "b.flac", 0.5)
    path = make_wav(tmp_path / "a.wav", 0.25, rate=8000)
    (tmp_path / "list.csv").write_text("wav_filename\na.wav\ndeep/er/b.flac\n")
    for source, lengths in ((tmp_path, [4000, 8000]), (tmp_path / "list.csv", [4000, 8000]), (path, [4000])):
        found = augmenter(f"noise[source={source}]")._sources[0]
        assert [len(found.read(k)) for k in range(len(found))] == lengths


def test_faults_of_a_source_come_together_and_one_of_silence_is_refused(tmp_path):
    for name in ("a.wav", "b.mp3"):
        (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(FlagError) as caught:
        augmenter(f"noise[source={tmp_path}]")
    assert all(name in str(caught.value) for name in ("a.wav: ", "b.mp3: ", "Fix or remove these files."))
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    for number in range(20):
        soundfile.write(quiet / f"{number:02}.wav", np.zeros(1000, np.float32), 16000)
    with pytest.raises(FlagError, match=r"nothing but silence \(20 of 20\)\nName recordings"):
        augmenter(f"noise[source={quiet}]")
    soundfile.write(quiet / "13.wav", np.full(1000, 0.1, np.float32), 16000)
    assert augmenter(f"noise[source={quiet}]").longest(7) == 7


def test_the_fingerprint_of_a_source_changes_with_its_recordings(tmp_path, make_wav):
    path = make_wav(tmp_path / "a.wav", 0.25)

    def fingerprints():
        return augmenter(f"noise[source={tmp_path}]", "gain").source_fingerprints()

    before = fingerprints()
    assert list(before) == [str(tmp_path)] and fingerprints() == before
    make_wav(path, 0.5)
    longer = fingerprints()
    make_wav(tmp_path / "b.wav", 0.25)
    assert before != longer != fingerprints() != before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "there is no such file or folder"),
        ("a.sdb", b"SAMPLEDB", "the sample database is cut"),
        ("empty.csv", b"wav_filename\n", "there is no recording in it"),
        ("other.csv", b"path\na.wav\n", "record 2: it has no wav_filename"),
        ("missing.csv", b"wav_filename\na.wav\n", "a.wav: the file does not exist"),
        ("latin.csv", b"wav_filename\n\xe9.wav\n", "cannot read the CSV"),
        ("text.wav", b"hello", "not audio but text"),
    ],
)
def test_a_source_that_cannot_be_used_is_named_with_its_augmentation(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FlagError) as caught:
        augmenter(f"rir[source={path}]")
    assert str(caught.value).startswith(f"--augment rir[p=1,source={path}]: ") and message in str(caught.value)
