"""Names, versions, promotion and rollback; what is damaged is refused."""

import json
import os

import pytest

from deepspeech_training.errors import UserError
from deepspeech_training.registry.register import register
from deepspeech_training.registry.store import DamagedModel, is_registry, promoted_in
from deepspeech_training.registry.writer import writing


@pytest.fixture
def three(registry, console):
    """Versions 1, 2 and 3 of "en", nothing promoted."""
    with writing(registry, console) as writer:
        return [writer.publish("en", {"model.tflite": b"model %d" % number}, {"tests": []}) for number in (1, 2, 3)]


@pytest.mark.parametrize("name", ["", ".", "..", "../en", "a/b", ".hidden", "-x", "x" * 65, "a b", "a\n", "ä", "a\0"])
def test_a_name_that_is_no_plain_folder_is_refused(registry, poor, console, name):
    with pytest.raises(UserError, match="not the name of a model"):
        register(registry, poor, name=name, processes=1, console=console)
    assert not registry.folder.exists()


@pytest.mark.parametrize("reference", ["en/../en", "en/0", "en/01", "en/x", "en/4", "en/1/2", "/etc", "../en/1"])
def test_a_reference_is_a_name_and_a_number(registry, three, reference):
    with pytest.raises(UserError):
        registry.find(reference)


def test_versions_count_and_the_number_of_a_removed_one_is_not_given_again(registry, three, console):
    assert registry.numbers("en") == [1, 2, 3]
    with writing(registry, console) as writer:
        writer.remove(three[2])
        assert registry.numbers("en") == [1, 2]
        assert writer.publish("en", {"model.tflite": b"another"}, {}).number == 4


def test_a_rollback_leads_back_step_by_step(registry, three, console):
    with writing(registry, console) as writer:
        for version in three:
            writer.promote(version, "")
        assert registry.promoted("en") == three[2] and registry.find("en") == three[2]
        assert writer.rollback("en", "") == three[1]
        assert writer.rollback("en", "") == three[0]
        with pytest.raises(UserError, match="no other version was promoted before"):
            writer.rollback("en", "")
    assert registry.promoted("en") == three[0]
    assert [event.what for event in registry.state("en").history] == ["promoted"] * 3 + ["rolled back"] * 2


def test_a_rollback_passes_over_what_was_removed(registry, three, console):
    with writing(registry, console) as writer:
        for version in three:
            writer.promote(version, "")
        writer.remove(three[1])
        assert writer.rollback("en", "") == three[0]


def test_the_promoted_version_cannot_be_removed_alone(registry, three, models):
    assert models("promote", "en/2")[0] == 0
    code, _, said = models("remove", "en/2")
    assert code == 1 and "promoted" in said and "--all" in said
    assert models("remove", "en")[0] == 2
    assert models("remove", "en", "--all")[0] == 0
    assert registry.names() == [] and not (registry.folder / "en").exists()


@pytest.mark.parametrize(
    "how", ["changed", "cut off", "missing", "a scorer beside it", "no card", "a path in the card"]
)
def test_a_damaged_version_is_named_and_not_promoted(registry, three, models, how):
    model, card = three[1].model_path, three[1].folder / "card.json"
    if how == "changed":
        model.write_bytes(b"model X")
    elif how == "cut off":
        model.write_bytes(b"model")
    elif how == "missing":
        model.unlink()
    elif how == "a scorer beside it":
        (three[1].folder / "model.scorer").write_bytes(b"scorer")
    elif how == "no card":
        card.write_text("[]")
    else:
        card.write_text(json.dumps({"files": {"model.tflite": {"sha256": "0" * 64}, "../x": {"sha256": "0" * 64}}}))
    with pytest.raises(DamagedModel, match=r"models/en/2.*\n.*rollback en"):
        three[1].check()
    code, _, said = models("promote", "en/2")
    assert code == 1 and "models/en/2" in said
    assert registry.promoted("en") is None
    assert models("promote", "en/1")[0] == 0


def test_a_damaged_registry_json_is_named_with_how_to_mend_it(registry, three, models):
    path = registry.folder / "en" / "registry.json"
    path.write_text('{"promoted": ')
    code, _, said = models("list")
    assert code == 1 and str(path) in said and "Delete it" in said
    path.unlink()
    assert models("promote", "en/2")[0] == 0


def test_a_promoted_version_that_somebody_has_deleted_is_named(registry, three, models):
    models("promote", "en/2")
    os.rename(three[1].folder, registry.folder / "elsewhere")
    with pytest.raises(UserError, match="version 2 is promoted, and it is not there"):
        promoted_in(registry.folder)


def test_a_registry_and_the_folder_of_a_model_are_told_from_other_folders(registry, three, models, poor):
    models("promote", "en/3")
    assert is_registry(registry.folder) and is_registry(registry.folder / "en") and not is_registry(poor)
    assert promoted_in(registry.folder) == promoted_in(registry.folder / "en")
    assert [str(version) for version in promoted_in(registry.folder)] == ["en/3"]


def test_a_folder_that_cannot_be_written_is_named(registry, models, three):
    (registry.folder / ".lock").unlink()
    (registry.folder / ".lock").mkdir()
    code, _, said = models("promote", "en/1")
    assert code == 1 and f"{registry.folder}/.lock: the registry cannot be written" in said
