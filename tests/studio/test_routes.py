"""Projects, people and takes over HTTP: what is kept, what is refused, and what becomes of it."""

import csv
import errno
import json
import os
import uuid
from pathlib import Path

import numpy as np
import pytest
import soundfile
from studio.takes import RATE, spoken, wav

from deepspeech_training import atomic_file
from deepspeech_training.console import Console
from deepspeech_training.data.clips import read_clips
from deepspeech_training.errors import UserError
from deepspeech_training.serving.security import is_open
from deepspeech_training.studio.corpus import COLUMNS, as_wav
from deepspeech_training.studio.store import Store

COMMANDS = "Light on!\nLight off!\nStop\n"


def make(client, **wanted) -> str:
    answer = client.post("/v1/studio/projects", json={"title": "My home", "texts": COMMANDS, **wanted})
    assert answer.status_code == 201, answer.text
    return f"/v1/studio/projects/{answer.json()['name']}"


def add(client, project: str, pseudonym: str, **more) -> str:
    answer = client.post(f"{project}/people", json={"pseudonym": pseudonym, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def put(
    client,
    project: str,
    person: str,
    prompt: int,
    content: bytes | None = None,
    *,
    take=None,
    at="2026-01-31T12:00:00Z",
):
    query = {"person": person, "prompt": prompt, "recorded_at": at}
    return client.put(f"{project}/takes/{take or uuid.uuid4()}", params=query, content=content or wav(seed=prompt))


def told(answer) -> str:
    return answer.json()["error"]["message"]


def test_what_was_recorded_is_there_after_a_restart_and_goes_on_at_the_next_prompt(open_client):
    client = open_client()
    project = make(client, telling_first=False)
    anna = add(client, project, "Anna")
    assert client.get(f"{project}/people/{anna}").json()["next"] == 0
    take = put(client, project, anna, 0).json()
    assert take["sound"]["remarks"] == [] and take["is_usable"]
    client = open_client()
    found = client.get(f"{project}/people/{anna}").json()
    assert found["next"] == 1 and found["takes"]["0"] == take
    assert client.get(f"{project}/takes/{take['id']}").content == wav(seed=0)
    assert client.get("/v1/studio").json()["projects"][0]["num_takes"] == 1


def test_a_take_that_is_sent_twice_is_one_and_a_newer_one_counts_whenever_it_arrives(client):
    project = make(client)
    anna = add(client, project, "Anna")
    newer = put(client, project, anna, 1, at="2026-01-31T12:00:09Z").json()
    again = put(client, project, anna, 1, take=newer["id"], at="2026-01-31T12:00:09Z").json()
    put(client, project, anna, 1, at="2026-01-31T12:00:00+00:00")  # was kept in the browser meanwhile
    found = client.get(f"{project}/people/{anna}").json()
    assert again == newer == found["takes"]["1"]
    assert found["next"] == 2
    assert client.delete(f"{project}/takes/{newer['id']}").status_code == 200
    assert client.get(f"{project}/people/{anna}").json()["takes"]["1"]["recorded_at"] == "2026-01-31T12:00:00.000Z"


def test_the_next_prompt_goes_round_to_those_that_were_skipped(client):
    project = make(client)
    anna = add(client, project, "Anna")
    put(client, project, anna, 2, at="2026-01-31T12:00:01Z")
    assert client.get(f"{project}/people/{anna}").json()["next"] == 0
    for prompt in (0, 1):
        put(client, project, anna, prompt, at=f"2026-01-31T12:00:0{prompt + 2}Z")
    assert client.get(f"{project}/people/{anna}").json()["next"] is None


def test_a_corpus_has_clips_of_16_khz_and_the_columns_that_tell_where_they_come_from(client, tmp_path):
    project = make(client, telling_first=False)
    for person in ("Anna", "Bo b"):
        put(client, project, add(client, project, person), 0)
    put(client, project, "anna", 1, as_wav(np.zeros(RATE, np.int16), RATE))
    saved = client.post(f"{project}/corpus").json()
    assert saved["left_out"] == 1 and saved["sets"] == {
        "train": {"clips": 2, "seconds": saved["sets"]["train"]["seconds"], "speakers": 2}
    }
    folder = tmp_path / "corpora" / "my-home"
    with open(folder / "train.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["speaker"] for row in rows} == {"anna", "bo-b"}
    assert (rows[0]["transcript"], rows[0]["original"]) == ("light on", "Light on!")
    assert rows[0]["recorded_at"] == "2026-01-31T12:00:00.000Z"
    assert soundfile.info(folder / rows[0]["wav_filename"]).samplerate == 16000
    assert int(rows[0]["wav_filesize"]) == (folder / rows[0]["wav_filename"]).stat().st_size
    clips = list(read_clips([str(folder / "train.csv")], Console()))
    assert [clip.fault for clip in clips] == ["", ""]


def test_with_five_people_no_one_is_in_two_sets_and_a_new_take_changes_no_clip_that_is_there(client, tmp_path):
    project = make(client, repeats=2)
    people = [add(client, project, f"Person {letter}") for letter in "abcde"]
    for person in people:
        for prompt in range(6):
            assert put(client, project, person, prompt, at=f"2026-01-31T12:00:0{prompt}Z").status_code == 201
    sets = client.post(f"{project}/corpus").json()["sets"]
    assert sum(found["speakers"] for found in sets.values()) == 5 and set(sets) == {"train", "dev", "test"}
    assert sum(found["clips"] for found in sets.values()) == 30
    clips = tmp_path / "corpora" / "my-home" / "clips"
    before = {path.name: path.stat().st_mtime_ns for path in clips.iterdir()}
    put(client, project, people[0], 0, at="2026-01-31T13:00:00Z")
    client.post(f"{project}/corpus")
    after = {path.name: path.stat().st_mtime_ns for path in clips.iterdir()}
    assert before.items() < after.items() and len(after) == 31


def test_a_consent_is_kept_with_its_date_and_nobody_is_recorded_without_it(client, tmp_path):
    project = make(client, consent="My voice may be used for training.")
    refused = client.post(f"{project}/people", json={"pseudonym": "Anna"})
    assert refused.status_code == 400 and "agreed" in told(refused)
    anna = add(client, project, "Anna", agreed=True)
    kept = json.loads((tmp_path / "studio" / "my-home" / "people" / f"{anna}.json").read_text(encoding="utf-8"))
    assert kept["consent"] == "My voice may be used for training." and kept["agreed_at"].endswith("Z")
    assert "already" in told(client.post(f"{project}/people", json={"pseudonym": " ANNA ", "agreed": True}))


def test_who_withdraws_the_consent_is_deleted_everywhere_and_nobody_else_is(client, tmp_path):
    project = make(client)
    people = [add(client, project, name) for name in ("Anna", "Anna 2")]
    for person in people:
        put(client, project, person, 0)
    client.post(f"{project}/corpus")
    assert client.delete(f"{project}/people/anna").status_code == 200
    assert [person["id"] for person in client.get(project).json()["people"]] == ["anna-2"]
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith("anna") and not name.startswith("anna-2")]
    assert len([name for name in names if name.endswith(".wav")]) == 2  # the take and the clip of the other one
    assert "anna-2" in (tmp_path / "corpora" / "my-home" / "train.csv").read_text(encoding="utf-8")
    assert client.delete(f"{project}/people/anna").status_code == 404
    assert put(client, project, "anna", 0).status_code == 404
    assert client.delete(f"{project}/people/anna-2").status_code == 200
    assert not (tmp_path / "corpora" / "my-home" / "train.csv").exists()


def test_what_sounds_odd_comes_first_is_dropped_or_mended_and_that_is_undone(open_client, tmp_path):
    client = open_client()
    project = make(client, telling_first=False)
    anna = add(client, project, "Anna")
    quiet = as_wav((spoken(seed=1) // 50).astype(np.int16), RATE)
    for prompt, content in enumerate((wav(seed=0), quiet, wav(seed=2))):
        put(client, project, anna, prompt, content, at=f"2026-01-31T12:00:0{prompt}Z")
    found = client.get(f"{project}/takes").json()
    assert found["total"] == 3 and found["takes"][0]["prompt"] == 1 and "quiet" in found["takes"][0]["sound"]["remarks"]
    assert client.get(f"{project}/takes", params={"order": "quietest", "from": 1}).json()["takes"][0]["prompt"] != 1
    by_prompt = {take["prompt"]: f"{project}/takes/{take['id']}/mark" for take in found["takes"]}
    assert client.post(by_prompt[0], json={"dropped": True}).json() == {"dropped": True, "text": ""}
    assert client.post(by_prompt[1], json={"text": " Light  out! "}).json() == {"dropped": False, "text": "Light out!"}
    assert "as words" in told(client.post(by_prompt[1], json={"text": "Route 66"}))
    assert "order must be one of oddest" in told(client.get(f"{project}/takes", params={"order": "x"}))

    client = open_client()
    train = tmp_path / "corpora" / "my-home" / "train.csv"
    assert client.post(f"{project}/corpus").json()["left_out"] == 1
    text = train.read_text(encoding="utf-8")
    assert ",light out,anna,Light out!," in text and ",stop,anna," in text and "light on" not in text
    for prompt in (0, 1):
        client.post(by_prompt[prompt], json={"dropped": False, "text": ""})
    client.post(f"{project}/corpus")
    text = train.read_text(encoding="utf-8")
    assert ",light on,anna," in text and ",light off,anna," in text
    assert not list((tmp_path / "studio").rglob("*.mark"))


def test_the_page_is_open_to_all_and_what_it_asks_for_is_not(client):
    assert [route.path for route in client.app.routes if is_open(route.path)] == ["/studio"]


def test_prompts_are_added_after_those_that_are_there(client):
    project = make(client)
    answer = client.post(f"{project}/prompts", json={"texts": "Stop\nRoute 66\nGo now"}).json()
    assert answer["added"] == 1 and answer["num_prompts"] == 4 and answer["left_out"][0]["text"] == "Route 66"
    assert client.get(project).json()["prompts"][3] == "Go now"


def test_no_name_of_a_request_becomes_a_path(client, tmp_path):
    project = make(client, title="../../evil")
    assert project.endswith("/evil")
    anna = add(client, project, "/etc/../Anna")
    assert put(client, project, anna, 0).status_code == 201
    assert put(client, project, "../people/anna", 0).status_code == 404
    assert put(client, project, anna, 0, take="..%2f..%2fx").status_code == 404
    for path in ("/v1/studio/projects/%2e%2e", "/v1/studio/projects/%2e%2e%2fcorpora", f"{project}/takes/x"):
        assert client.get(path).status_code == 404
    client.post(f"{project}/corpus")
    assert {path.name for path in tmp_path.iterdir()} == {"studio", "corpora"}
    assert {path.name for path in (tmp_path / "studio").iterdir()} == {".lock", "evil"}


def test_a_corpus_of_somebody_else_is_never_written_into(client, tmp_path):
    (tmp_path / "corpora" / "my-home").mkdir(parents=True)
    assert make(client).endswith("/my-home-2")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"title": " "}, "title"),
        ({"texts": "\n66\n"}, "nothing to read"),
        ({"texts": 3}, "must be a text"),
        ({"repeats": 0}, "repeats"),
        ({"repeats": 21}, "1 to 20 times"),
        ({"consent": "x" * 10_001}, "consent"),
        ({"titel": "x"}, "did you mean title"),
    ],
)
def test_a_project_that_cannot_be_is_refused_with_a_sentence(client, wanted, said):
    answer = client.post("/v1/studio/projects", json={"title": "a", "texts": "b", **wanted})
    assert answer.status_code == 400 and said in told(answer)


def test_takes_that_cannot_be_are_refused_and_leave_nothing(client, tmp_path):
    project = make(client)
    anna = add(client, project, "Anna")
    long = as_wav(np.zeros(600 * 48000, np.int16), 48000)
    assert put(client, project, anna, 0, long).status_code == 413
    assert "60 s" in told(put(client, project, anna, 0, as_wav(np.zeros(61 * 8000, np.int16), 8000)))
    assert "no WAV" in told(put(client, project, anna, 0, b"webm"))
    assert put(client, project, anna, 3).status_code == 404
    assert put(client, project, "nobody", 0).status_code == 404
    assert "recorded_at" in told(put(client, project, anna, 0, at="yesterday"))
    assert list((tmp_path / "studio" / "my-home" / "takes").iterdir()) == []
    assert "no take" in told(client.post(f"{project}/corpus"))


def test_a_full_disk_is_a_sentence_and_nothing_is_half_written(client, tmp_path, monkeypatch):
    project = make(client)
    anna = add(client, project, "Anna")
    first = put(client, project, anna, 0).json()
    writes = iter(range(100))
    fsync = os.fsync

    def full(descriptor):  # the sound has room, what belongs to it has not
        if next(writes) >= 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(atomic_file.os, "fsync", full)
    answer = put(client, project, anna, 1)
    assert answer.status_code == 507 and "disk is full" in told(answer)
    answer = client.post(f"{project}/people", json={"pseudonym": "Bob"})
    assert answer.status_code == 507
    monkeypatch.undo()
    names = {path.name for path in (tmp_path / "studio" / "my-home" / "takes").iterdir()}
    assert names == {f"{uuid.UUID(first['id']).hex}{end}" for end in (".wav", ".json")}
    assert put(client, project, anna, 1).status_code == 201  # as the page does when there is room again
    assert [person["pseudonym"] for person in client.get(project).json()["people"]] == ["Anna"]


def test_a_damaged_file_costs_one_take_and_a_take_without_its_facts_is_none(open_client, tmp_path):
    client = open_client()
    project = make(client)
    anna = add(client, project, "Anna")
    for prompt in range(3):
        put(client, project, anna, prompt)
    damaged, lost, _ = sorted((tmp_path / "studio" / "my-home" / "takes").glob("*.json"))
    damaged.write_text("{", encoding="utf-8")
    lost.unlink()  # killed between the two files
    assert len(open_client().get(f"{project}/people/{anna}").json()["takes"]) == 1


def test_one_app_has_the_recordings_of_a_volume(client, tmp_path):
    with pytest.raises(UserError, match="another app has the recordings"):
        Store(tmp_path / "studio", tmp_path / "corpora")


def test_a_volume_that_must_not_be_written_is_told_at_the_start(tmp_path):
    Path(tmp_path / "studio").write_text("a file", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        Store(tmp_path / "studio", tmp_path / "corpora")
