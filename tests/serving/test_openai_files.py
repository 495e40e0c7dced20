"""Files as with OpenAI: its own Python client, unchanged, against a real server."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import openai
import pytest
import soundfile
from serving.conftest import SENTENCE, wav_bytes

SEGMENT_FIELDS = {"id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio"}
SEGMENT_FIELDS |= {"no_speech_prob"}
URL = "/v1/audio/transcriptions"


@pytest.fixture
def client(spoken_server):
    with openai.OpenAI(base_url=f"{spoken_server.url}/v1", api_key="none", timeout=60, max_retries=0) as client:
        yield client


@pytest.fixture
def spoken(spoken_server):
    with httpx.Client(base_url=spoken_server.url, timeout=60) as client:
        yield client


def test_the_client_gets_the_text_of_a_file(client, spoken_clip):
    found = client.audio.transcriptions.create(model="whisper-1", file=spoken_clip, language="en", temperature=0.2)
    assert found.text == SENTENCE and found.usage.seconds == 3


@pytest.mark.parametrize(("format", "begin"), [("text", SENTENCE), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")])
def test_texts_and_subtitles_come_as_they_are(client, spoken_clip, format, begin):
    found = client.audio.transcriptions.create(model="whisper-1", file=spoken_clip, response_format=format)
    assert found.startswith(begin) and SENTENCE in found


def test_verbose_json_has_words_with_their_times_and_all_ten_fields_of_a_segment(client, spoken_clip):
    found = client.audio.transcriptions.create(
        model="whisper-1",
        file=spoken_clip,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        extra_body={"alternatives": 3},
    )
    assert found.text == SENTENCE and found.duration == pytest.approx(2.925, abs=0.01)
    assert [word.word for word in found.words] == SENTENCE.split()
    times = [time for word in found.words for time in (word.start, word.end)]
    assert times == sorted(times) and 0 <= times[0] < times[-1] <= found.duration + 0.1
    assert all(0 <= word.confidence <= 1 for word in found.words)
    assert [set(segment.model_dump()) >= SEGMENT_FIELDS for segment in found.segments] == [True]
    assert len(found.alternatives[0]) == 3


def test_word_times_are_had_with_any_format_and_without_brackets(spoken, spoken_clip):
    files = {"file": spoken_clip.read_bytes()}
    found = spoken.post(URL, files=files, data={"timestamp_granularities": "word"}).json()
    assert [word["word"] for word in found["words"]] == SENTENCE.split()


def test_a_stream_of_events_appends_and_ends_with_the_whole_text(client, spoken_clip):
    events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=spoken_clip, stream=True))
    assert [event.type for event in events][-1] == "transcript.text.done"
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == SENTENCE


def test_events_are_not_held_back_by_a_proxy(spoken, spoken_clip):
    answer = spoken.post(URL, files={"file": spoken_clip.read_bytes()}, data={"stream": "true"})
    assert answer.headers["x-accel-buffering"] == "no" and answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_keywords_are_hot_words_and_of_one_request_alone(spoken, spoken_clip):
    files = {"file": spoken_clip.read_bytes()}
    worse = spoken.post(URL, files=files, data={"hot_words": json.dumps({"dark": -1000.0})})
    assert worse.status_code == 200 and "dark" not in worse.json()["text"].split()
    for data in ({"keywords[]": ["dark", "suit:3"]}, {}):
        assert spoken.post(URL, files=files, data=data).json()["text"] == SENTENCE


def test_keywords_without_a_scorer_are_refused_with_what_would_do(http, speech_wav):
    answer = http.post(URL, files={"file": speech_wav}, data={"keywords[]": ["dark"]})
    error = answer.json()["error"]
    assert answer.status_code == 400 and "--scorer" in error["message"] and error["param"] == "hot_words"


def test_a_request_decides_on_beam_and_scorer(spoken, spoken_clip):
    files = {"file": spoken_clip.read_bytes()}
    for data in ({"beam_width": "0"}, {"scorer": "0", "beam_width": "20"}, {"alpha": "0.5", "beta": "1"}):
        assert spoken.post(URL, files=files, data=data).json()["text"] == SENTENCE


def test_greedy_beam_and_scorer_are_compared(spoken, http, spoken_clip, speech_wav):
    found = spoken.post("/v1/compare", files={"file": spoken_clip.read_bytes()}).json()
    assert found == {"text": SENTENCE, "without_scorer": SENTENCE, "greedy": SENTENCE}
    assert http.post("/v1/compare", files={"file": speech_wav}).json()["greedy"] is None


def test_what_is_not_known_is_ignored(spoken, spoken_clip):
    data = {"prompt": "Hello", "include[]": "logprobs", "chunking_strategy": "auto", "xyzzy": "1", "temperature": "0"}
    assert spoken.post(URL, files={"file": spoken_clip.read_bytes()}, data=data).json()["text"] == SENTENCE


@pytest.mark.parametrize(
    ("data", "param", "said"),
    [
        ({"response_format": "docx"}, "response_format", "verbose_json"),
        ({"timestamp_granularities[]": "letter"}, "timestamp_granularities", "word"),
        ({"alternatives": "1000"}, None, "alternatives"),
        ({"beam_width": "100000"}, None, "beam_width"),
        ({"alpha": "nan"}, None, "alpha"),
        ({"stream": "maybe"}, None, "stream"),
    ],
)
def test_a_wrong_field_is_named(http, speech_wav, data, param, said):
    answer = http.post(URL, files={"file": speech_wav}, data=data)
    error = answer.json()["error"]
    assert answer.status_code == 400 and said in error["message"] and error["type"] == "invalid_request_error"
    assert error["param"] == param


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's method, by OpenAI
def test_translations_are_refused_with_a_sentence(client, spoken_clip):
    with pytest.raises(openai.BadRequestError, match="do not translate"):
        client.audio.translations.create(model="whisper-1", file=spoken_clip)


def test_an_unknown_model_is_told_from_those_that_there_are(client, spoken_clip):
    with pytest.raises(openai.NotFoundError, match="output_graph_nodrop") as refused:
        client.audio.transcriptions.create(model="xyzzy", file=spoken_clip)
    assert refused.value.code == "model_not_found" and refused.value.param == "model"


def test_models_are_listed_with_what_is_known_of_them(client):
    models = list(client.models.list())
    assert [model.id for model in models] == ["output_graph_nodrop"]
    facts = client.models.retrieve("output_graph_nodrop").facts
    assert facts["sample_rate"] == 16000 and len(facts["alphabet"]) == 28 and facts["scorer"] == "pruned_lm.scorer"
    assert facts["wer"] is None and facts["verdict"].startswith("HEALTHY") and len(facts["sha256"]) == 64


@pytest.mark.parametrize("content", [b"", b"RIFF\0\0", b"\x1aE\xdf\xa3" + bytes(106), b"no audio at all " * 100])
def test_what_is_no_audio_is_a_sentence_and_never_a_fault(http, content):
    answer = http.post(URL, files={"file": ("recording.webm", content)})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_audio"
    assert "recording.webm" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"xyzzy"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--'),
        ("", b""),
    ],
)
def test_a_body_that_is_no_form_with_a_file_is_told_so(http, content_type, body):
    answer = http.post(URL, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_rates_channels_and_formats_do_not_matter(spoken, spoken_clip, tmp_path):
    audio, rate = soundfile.read(spoken_clip, dtype="float32")
    stereo = tmp_path / "stereo.flac"
    soundfile.write(stereo, np.repeat(np.stack([audio, audio * 0.5], axis=1), 3, axis=0), 3 * rate)
    for name in ("a.flac", "a.mp3", "a"):
        answer = spoken.post(URL, files={"file": (name, stereo.read_bytes())})
        assert answer.json()["text"] == SENTENCE


def test_silence_has_an_empty_text_in_every_format(spoken):
    files = {"file": wav_bytes(np.zeros(40 * 16000, np.float32))}
    for format, text in (
        ("json", '"text":""'),
        ("text", "\n"),
        ("srt", ""),
        ("vtt", "WEBVTT\n"),
        ("verbose_json", "[]"),
    ):
        assert text in spoken.post(URL, files=files, data={"response_format": format}).text


def test_what_will_not_change_is_not_tried_again(make_server, small_model):
    server = make_server("--model", small_model, "--max_upload_mb", 1)
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60, max_retries=2) as client,
        pytest.raises(openai.APIStatusError, match="--max_upload_mb") as refused,
    ):
        client.audio.transcriptions.create(model="whisper-1", file=bytes(3 << 20))
    assert refused.value.status_code == 413 and refused.value.code == "too_large"
    assert server.stop() == 0
    assert server.err.count('"status": 413') == 1


@pytest.mark.slow
def test_a_busy_service_is_tried_again_by_the_client(make_server, small_model):
    server = make_server("--model", small_model, "--max_waiting", 0)
    noise = wav_bytes(np.random.default_rng(0).uniform(-0.5, 0.5, 60 * 16000).astype(np.float32))

    def ask(_number: int) -> str:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60, max_retries=20) as client:
            return client.audio.transcriptions.create(model="whisper-1", file=noise).text

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(ask, range(3)))) == 1
    assert server.stop() == 0
    assert server.err.count('"status": 200') == 3 and '"status": 429' in server.err


def test_a_minute_of_sentences_has_each_of_them_in_its_place(spoken, spoken_clip):
    audio, rate = soundfile.read(spoken_clip, dtype="float32")
    minute = np.concatenate([np.concatenate([audio, np.zeros(2 * rate, np.float32)]) for _ in range(12)])
    answer = spoken.post(URL, files={"file": wav_bytes(minute, rate)}, data={"response_format": "verbose_json"}).json()
    # The model knows its one sentence from the silence before it on, which not every piece begins with.
    assert answer["text"].count("dark suit in greasy wash water") == 12
    starts = [segment["start"] for segment in answer["segments"]]
    assert starts == sorted(starts) and answer["segments"][-1]["end"] > 55


def test_an_hour_comes_back_whole(http):
    hour = np.zeros(3600 * 8000, np.float32)
    hour[-8000:] = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    answer = http.post(
        URL, files={"file": wav_bytes(hour, 8000)}, data={"response_format": "verbose_json"}, timeout=300
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["duration"] == 3600 and found["segments"][-1]["end"] > 3598
