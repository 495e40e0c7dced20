import concurrent.futures
import gc
import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.decoding.greedy import GreedyStream, greedy_labels
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.runtime import Metadata, Model, ScorerError, ScorerNotEnabled, StreamError
from deepspeech_training.runtime.stream import Recorder

TRANSCRIPT = "she had your dark suit in greasy wash water all year"


def probs_of(model: Model, audio: np.ndarray, chunk: int) -> np.ndarray:
    """What the network of a stream gives, frame by frame."""
    recorder = Recorder(model.file)
    with model.stream_into(recorder) as stream:
        for start in range(0, len(audio), chunk):
            stream.feedAudioContent(audio[start : start + chunk])
        stream.finishStream()
    return recorder.probabilities()


def speech_like(num_samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(num_samples) * 3000).astype(np.int16)


def test_the_features_are_those_that_the_clients_compute(test_data, clip, model_path):
    rest = np.zeros(145 * 320 + 512, np.float32)  # as in stt 1.4.0: the rest filled up with zeros
    rest[: len(clip)] = clip / np.float32(32768)
    frames = Mfcc(FeatureGeometry())(rest)
    assert np.abs(frames - np.load(test_data / "golden" / "tflite_client_mfcc.npy")).max() < 1e-4

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model_path), num_threads=1)
    interpreter.allocate_tensors()
    index = {t["name"]: t["index"] for t in interpreter.get_input_details() + interpreter.get_output_details()}
    for frame in range(0, 146, 7):
        interpreter.set_tensor(index["input_samples"], rest[frame * 320 : frame * 320 + 512])
        interpreter.invoke()
        assert np.abs(frames[frame] - interpreter.get_tensor(index["mfccs"]).ravel()).max() < 1e-3


def test_deepspeechs_model_gives_its_transcript_and_probabilities(model, clip, test_data):
    assert (model.sampleRate(), model.beamWidth()) == (16000, 500)
    assert model.stt(clip) == TRANSCRIPT
    golden = np.load(test_data / "golden" / "tflite_nodrop_softmax.npy")
    assert np.abs(probs_of(model, clip, len(clip)) - golden).max() < 1e-3


def test_metadata_have_tokens_with_times_and_the_confidence_of_the_best_path(model, clip):
    metadata = model.sttWithMetadata(clip, num_results=5)
    assert isinstance(metadata, Metadata) and len(metadata.transcripts) == 1
    transcript = metadata.transcripts[0]
    assert transcript.text == "".join(token.text for token in transcript.tokens) == TRANSCRIPT
    timesteps = [token.timestep for token in transcript.tokens]
    assert timesteps == sorted(timesteps) and timesteps[-1] < 146
    assert all(token.start_time == pytest.approx(token.timestep * 0.02) for token in transcript.tokens)
    best = probs_of(model, clip, 1000).max(axis=1).astype(np.float64)
    assert transcript.confidence == pytest.approx(np.log(best).sum())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_wherever_the_stream_is_cut_the_result_is_that_of_the_whole(model, data):
    audio = speech_like(data.draw(st.sampled_from([0, 1, 191, 511, 512, 513, 8192, 8193, 20000, 31111])))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(audio)), max_size=12)))
    if data.draw(st.booleans()):  # and some single samples
        cuts = sorted(cuts + [min(len(audio), cut + i) for cut in cuts[:2] for i in range(5)])
    with model.createStream() as stream:
        for piece in np.split(audio, cuts):
            stream.feedAudioContent(piece)
        in_pieces = stream.finishStreamWithMetadata()
    assert in_pieces == model.sttWithMetadata(audio)  # to the last bit of the confidence


def test_sample_by_sample_the_probabilities_are_those_of_the_whole(model, clip):
    audio = clip[:12000]
    np.testing.assert_array_equal(probs_of(model, audio, 1), model.probabilities(audio))


def test_from_features_the_probabilities_are_those_from_audio(model, clip):
    frames = Mfcc(model.file.geometry)(with_last_frame(clip / np.float32(32768), model.file.geometry))
    np.testing.assert_allclose(model.probabilities_of_features(frames), model.probabilities(clip), atol=1e-5)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7))
def test_decoding_in_pieces_equals_decoding_at_once(path, size):
    probs = np.full((len(path), 4), 0.1)
    probs[np.arange(len(path)), path] = 0.7
    stream = GreedyStream(blank=3)
    for start in range(0, len(path), size):
        stream.feed(probs[start : start + size])
    assert stream.labels == greedy_labels(probs.reshape(-1, 4), blank=3).tolist()
    assert [path[frame] for frame in stream.frames] == stream.labels


def test_intermediate_results_grow_into_the_final_one(model, clip):
    with model.createStream() as stream:
        texts = []
        for start in range(0, len(clip), 4000):
            stream.feedAudioContent(clip[start : start + 4000])
            texts.append(stream.intermediateDecode())
            assert stream.intermediateDecodeWithMetadata().transcripts[0].text == texts[-1]
        assert all(after.startswith(before) for before, after in pairwise(texts))
        assert texts[0] == "" and len(texts[-1]) > 30
        assert stream.finishStream() == TRANSCRIPT


def test_no_audio_is_no_text(model):
    assert model.stt(np.zeros(0, np.int16)) == model.stt([]) == model.createStream().finishStream() == ""
    (transcript,) = model.sttWithMetadata([]).transcripts
    assert (transcript.tokens, transcript.confidence) == ((), 0.0)
    assert isinstance(model.stt(np.ones(1, np.int16)), str)


def test_many_threads_share_one_model(model_path, clip):
    model = Model(model_path, num_threads=3)
    clips = [np.roll(clip, 1000 * i)[: 46797 - 2500 * i] for i in range(8)]
    alone = [model.sttWithMetadata(audio) for audio in clips]

    def interleaved(number: int) -> list[Metadata]:
        results = []
        for _ in range(3):
            streams = [model.createStream() for _ in clips]
            for start in range(0, len(clip), 3000 + 100 * number):
                for stream, audio in zip(streams, clips, strict=True):
                    stream.feedAudioContent(audio[start : start + 3000 + 100 * number])
            results.append([stream.finishStreamWithMetadata() for stream in streams])
        return results

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for results in threads.map(interleaved, range(8)):
            assert results == [alone] * 3
    assert model._networks._count <= 3


def test_cost_and_memory_of_a_stream_do_not_grow(model):
    minute = speech_like(16000 * 60)
    stream = model.createStream()
    stream.feedAudioContent(minute[:16000])
    held = len(stream._samples)
    seconds = []
    tracemalloc.start()
    try:
        for number in range(10):
            started = time.process_time()
            for start in range(0, len(minute), 1600):
                stream.feedAudioContent(minute[start : start + 1600])
            seconds.append(time.process_time() - started)
            gc.collect()  # numpy's sliding windows leave cycles behind
            if number == 0:
                after_one = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - after_one
    finally:
        tracemalloc.stop()
    assert held == len(stream._samples)
    text = stream.finishStream()
    # Per character two list entries and one int object; nothing else stays.
    assert grown < 100 * len(text) + 50_000
    assert min(seconds[7:]) < 4 * min(seconds[:3])  # a cost that grew with the length would be eight times as high


@pytest.mark.parametrize(
    ("audio", "error", "says"),
    [
        (np.zeros(10, np.float32), TypeError, "convert it with"),
        (np.full(10, np.nan), TypeError, "not finite"),
        (np.zeros(10, np.int32), TypeError, "int32"),
        (np.zeros((10, 2), np.int16), ValueError, "mono"),
        (b"\0\0", TypeError, "np.frombuffer"),
        (np.array(["a"]), TypeError, "int16"),
    ],
)
def test_audio_of_another_kind_is_refused_and_the_stream_lives_on(model, clip, audio, error, says):
    stream = model.createStream()
    stream.feedAudioContent(clip[:20000])
    with pytest.raises(error, match=says):
        stream.feedAudioContent(audio)
    stream.feedAudioContent(clip[20000:])
    assert stream.finishStream() == TRANSCRIPT


@pytest.mark.parametrize("end", ["finishStream", "finishStreamWithMetadata", "freeStream"])
@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.feedAudioContent(np.zeros(1, np.int16)),
        lambda stream: stream.intermediateDecode(),
        lambda stream: stream.intermediateDecodeWithMetadata(),
        lambda stream: stream.finishStream(),
        lambda stream: stream.finishStreamWithMetadata(),
    ],
)
def test_a_stream_that_has_ended_says_so(model, end, use):
    stream = model.createStream()
    stream.feedAudioContent(np.zeros(20000, np.int16))
    getattr(stream, end)()
    with pytest.raises(StreamError, match="ended"):
        use(stream)
    stream.freeStream()  # harmless


def test_the_beam_width_is_kept_and_checked(model_path):
    model = Model(model_path)
    model.setBeamWidth(7)
    assert model.beamWidth() == 7
    for wrong in (-1, 1.5, True, "8", 10**6):
        with pytest.raises(ValueError, match="beam width"):
            model.setBeamWidth(wrong)
    with pytest.raises(ValueError, match="num_results"):
        model.sttWithMetadata([], 0)
    with pytest.raises(ValueError, match="num_threads"):
        Model(model_path, num_threads=0)


def test_what_needs_a_scorer_says_so(model):
    for call in (
        model.disableExternalScorer,
        lambda: model.setScorerAlphaBeta(0.9, 1.2),
        model.scorerAlphaBeta,
        lambda: model.addHotWord("word", 5.0),
        lambda: model.eraseHotWord("word"),
        model.clearHotWords,
    ):
        with pytest.raises(ScorerNotEnabled, match="needs a scorer"):
            call()
    with pytest.raises(ScorerError, match="there is no such scorer"):
        model.enableExternalScorer("x.scorer")


@pytest.fixture
def scored(model_path, test_data, compiled_beam):
    model = Model(model_path)
    model.enableExternalScorer(test_data / "ldc93s1" / "pruned_lm.scorer")
    return model


def test_with_a_beam_there_are_several_candidates(model_path, clip, compiled_beam):
    model = Model(model_path)
    model.setBeamWidth(50)
    candidates = model.sttWithMetadata(clip, 3).transcripts
    assert candidates[0].text == TRANSCRIPT and len({candidate.text for candidate in candidates}) == 3
    assert [c.confidence for c in candidates] == sorted((c.confidence for c in candidates), reverse=True)
    model.setBeamWidth(0)
    assert len(model.sttWithMetadata(clip, 3).transcripts) == 1


def test_a_scorer_is_used_until_it_is_disabled(scored, clip):
    assert scored.scorerAlphaBeta() == (0.75, pytest.approx(1.85))
    assert scored.stt(clip) == TRANSCRIPT
    with pytest.raises(ValueError, match="disableExternalScorer"):
        scored.setBeamWidth(0)
    confidence = scored.sttWithMetadata(clip).transcripts[0].confidence
    scored.setScorerAlphaBeta(2.0, 0.5)
    assert scored.sttWithMetadata(clip).transcripts[0].confidence != confidence
    scored.disableExternalScorer()
    with pytest.raises(ScorerNotEnabled):
        scored.setScorerAlphaBeta(1, 1)


def test_a_hot_word_changes_the_text(scored, clip):
    scored.addHotWord("dark", -1000.0)
    assert "dark" not in scored.stt(clip)
    with pytest.raises(ValueError, match="already"):
        scored.addHotWord("dark", 1.0)
    with pytest.raises(ValueError, match="no hot word"):
        scored.eraseHotWord("light")
    scored.eraseHotWord("dark")
    assert scored.stt(clip) == TRANSCRIPT
    scored.addHotWord("dark", -1000.0)
    scored.clearHotWords()
    assert scored.stt(clip) == TRANSCRIPT


def test_a_stream_with_a_scorer_hears_what_the_whole_clip_gives(scored, clip):
    whole = scored.sttWithMetadata(clip, 3)
    stream = scored.createStream()
    for start in range(0, len(clip), 777):
        stream.feedAudioContent(clip[start : start + 777])
        stream.intermediateDecode()
    assert stream.finishStreamWithMetadata(3) == whole


def test_numba_is_imported_only_when_a_beam_is_used(fresh_python, model_path, clip_path):
    finished = fresh_python(
        "import sys, soundfile\n"
        "sys.modules['numba'] = None\n"
        "from deepspeech_training.runtime import Model\n"
        "print(Model(sys.argv[1]).stt(soundfile.read(sys.argv[2], dtype='int16')[0]))\n",
        model_path,
        clip_path,
    )
    assert finished.stdout.splitlines() == [TRANSCRIPT], finished.stderr


def test_without_tensorflow_a_process_loads_streams_and_transcribes(fresh_python, model_path, clip_path):
    finished = fresh_python(
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "import soundfile\n"
        "from deepspeech_training.runtime import Model\n"
        "model = Model(sys.argv[1])\n"
        "audio, _ = soundfile.read(sys.argv[2], dtype='int16')\n"
        "stream = model.createStream()\n"
        "stream.feedAudioContent(audio[:9999]); stream.feedAudioContent(audio[9999:])\n"
        "print(model.stt(audio)); print(stream.finishStream())\n",
        model_path,
        clip_path,
    )
    assert finished.stdout.splitlines() == [TRANSCRIPT] * 2, finished.stderr


def test_the_import_takes_less_than_half_a_second(fresh_python):
    # Processor time: how busy the machine is makes no difference.
    source = (
        "import time; started = time.process_time()\n"
        "import deepspeech_training.runtime\n"
        "print(time.process_time() - started)"
    )
    assert min(float(fresh_python(source).stdout) for _ in range(3)) < 0.5
