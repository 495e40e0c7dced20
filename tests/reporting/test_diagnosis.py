import pytest

from deepspeech_training.reporting.diagnosis import VERDICTS, diagnose
from deepspeech_training.reporting.evidence import Answers, Evidence
from deepspeech_training.reporting.history import Epoch

LISTENS = Answers(blank_share=0.6, text="she had", difference=9.0)


def epochs(dev_losses, *, cers=None, train_losses=None) -> list[Epoch]:
    """A history; without more said, the train loss is the dev loss and the CER falls with it."""
    train_losses = train_losses or dev_losses
    cers = cers or [min(1.0, loss / 60) for loss in dev_losses]
    return [
        Epoch(number, train, dev, {"wer": min(1.0, 2 * cer), "cer": cer})
        for number, (train, dev, cer) in enumerate(zip(train_losses, dev_losses, cers, strict=True), start=1)
    ]


FALLING = [90.0 * 0.8**n for n in range(30)]
FLAT = FALLING[:20] + [1.25 - 0.001 * n for n in range(30)]
RISING = [60.0, 40.0, 30.0, 25.0, 24.0, *[24 + 0.5 * n for n in range(20)]]


def verdict(**evidence) -> str:
    return diagnose(Evidence(**{"updates": 5000, "answers": LISTENS} | evidence)).verdict


def words(**evidence) -> str:
    return "\n".join(diagnose(Evidence(**{"updates": 5000, "answers": LISTENS} | evidence)).lines())


def test_a_run_that_was_stopped_early_on_is_undertrained():
    evidence = {"epoch": 3, "epochs": 75, "history": epochs(FALLING[:3])}
    assert verdict(**evidence) == "undertrained"
    assert "saved at epoch 3 of 75" in words(**evidence) and "resume" in words(**evidence)
    assert verdict(epoch=0, epochs=75) == "undertrained"


def test_a_loss_that_still_falls_at_the_end_asks_for_more_epochs():
    evidence = {"epoch": 8, "epochs": 8, "history": epochs(FALLING[:8]), "stopped": "all 8 epochs are done"}
    assert verdict(**evidence) == "undertrained"
    assert "dev loss still falls, by 20% per epoch" in words(**evidence) and "--epochs 16" in words(**evidence)


def test_a_small_loss_that_still_falls_asks_for_nothing():
    history = epochs(FALLING, cers=[max(0.02, 1 - n / 20) for n in range(30)])
    assert verdict(epoch=30, epochs=30, history=history, stopped="all 30 epochs are done") == "healthy"


def test_early_stopping_that_came_too_soon_is_told():
    history = epochs([60.0, 59.99, 59.98], cers=[1.0, 1.0, 1.0])
    evidence = {"epoch": 3, "epochs": 75, "history": history, "stopped": "no better", "early_stop": True, "updates": 60}
    assert verdict(**evidence) == "undertrained"
    assert "early stopping ended the run at epoch 3 of 75" in words(**evidence) and "--min_epochs" in words(**evidence)


def test_a_dev_loss_that_rises_while_the_train_loss_falls_is_overfitting():
    train = [60.0 * 0.85**n for n in range(25)]
    history = epochs(RISING, train_losses=train, cers=[0.8] * 25)
    evidence = {"epoch": 25, "epochs": 25, "history": history, "stopped": "all 25 epochs are done"}
    assert verdict(**evidence) == "overfitted"
    assert "the dev loss rises since epoch 5: overfitted; the best is kept" in words(**evidence)
    assert verdict(**evidence | {"epoch": 5, "is_best": True}) == "overfitted"


def test_the_best_of_a_run_that_overfitted_later_is_sound_where_it_writes_well():
    train = [60.0 * 0.85**n for n in range(25)]
    history = epochs(RISING, train_losses=train, cers=[1.0, 0.7, 0.4, 0.2, 0.1] + [0.12] * 20)
    evidence = {"epoch": 5, "epochs": 25, "history": history, "stopped": "all 25 epochs are done", "is_best": True}
    assert verdict(**evidence) == "healthy"
    assert "the run overfits: its dev loss rises since epoch 5; this is the best, which was kept" in words(**evidence)
    assert verdict(**evidence | {"epoch": 25, "is_best": False}) == "overfitted"


def test_a_dev_loss_that_rises_with_the_train_loss_is_no_overfitting():
    history = epochs(RISING, cers=[0.3] * 25)
    assert verdict(epoch=25, epochs=25, history=history, stopped="all 25 epochs are done") == "healthy"


def test_all_blank_output_that_does_not_change_has_collapsed():
    history = epochs([50.0 + 0.01 * (n % 2) for n in range(40)], cers=[1.0] * 40)
    evidence = {"epoch": 40, "epochs": 40, "history": history, "stopped": "all 40 epochs are done"}
    assert verdict(**evidence) == "collapsed"
    assert "all-blank output" in words(**evidence)
    assert verdict(**evidence | {"updates": 40}) == "undertrained"  # a few updates change little


def test_a_network_that_does_not_hear_has_collapsed_whatever_its_history():
    deaf = Answers(blank_share=1.0, text="", difference=0.0, dead={"layer_3": 1.0, "layer_1": 0.1})
    assert verdict(answers=deaf) == "collapsed"
    evidence = {"epoch": 3, "epochs": 75, "history": epochs(FALLING[:3]), "answers": deaf}
    assert verdict(**evidence) == "collapsed" and "all units of layer_3 are dead" in words(**evidence)


def test_an_export_is_judged_by_its_answer():
    assert verdict(answers=LISTENS, updates=None) == "healthy"
    assert "rests on the weights" in words(answers=LISTENS, updates=None)
    blank = Answers(blank_share=1.0, text="", difference=2.0)
    assert verdict(answers=blank, updates=None) == "collapsed"


def test_weights_that_are_not_finite_are_broken_before_all_else():
    assert verdict(not_finite=3, epoch=3, epochs=75, history=epochs(FALLING[:3]), answers=None) == "broken"


def test_a_run_that_has_learnt_all_it_could_and_is_still_bad_is_weak():
    history = epochs([40.0 + n % 2 for n in range(40)], cers=[0.7] * 40)
    assert verdict(epoch=40, epochs=40, history=history, stopped="all 40 epochs are done") == "weak"


def test_a_run_that_has_settled_is_healthy_finished_or_not():
    history = epochs(FLAT)
    assert verdict(epoch=50, epochs=50, history=history, stopped="all 50 epochs are done") == "healthy"
    assert verdict(epoch=50, epochs=75, history=history) == "healthy"
    assert "has not finished" in words(epoch=50, epochs=75, history=history)


def test_without_a_dev_set_the_train_loss_is_asked():
    history = [Epoch(number, loss) for number, loss in enumerate(FALLING[:6], start=1)]
    assert verdict(epoch=6, epochs=6, history=history, stopped="all 6 epochs are done") == "undertrained"
    history = [Epoch(number, loss) for number, loss in enumerate(FALLING, start=1)]
    evidence = {"epoch": 30, "epochs": 30, "history": history, "stopped": "all 30 epochs are done"}
    assert verdict(**evidence) == "unknown"
    assert "no dev set" in words(**evidence) and "updates of the weights are few" not in words(**evidence)


def test_one_epoch_of_two_clips_without_a_dev_set_is_not_called_healthy():
    evidence = {"epoch": 1, "epochs": 1, "history": [Epoch(1, 17.6)], "stopped": "all 1 epochs are done", "updates": 2}
    assert verdict(**evidence) == "unknown" and not diagnose(Evidence(**evidence)).healthy
    assert "what it writes for clips that it has not heard" in words(**evidence)
    assert "2 updates of the weights are few" in words(**evidence)


AVERAGE = {"average_of": ["run/train-000000100.json", "run/train-000000200.json"]}


def test_an_average_is_not_judged_by_the_figures_of_its_last_checkpoint():
    evidence = {"epoch": 8, "epochs": 8, "history": epochs(FALLING[:8]), "stopped": "all 8 epochs are done", **AVERAGE}
    assert verdict(**evidence) == "unknown"
    text = words(**evidence)
    assert "the average of 2 checkpoints: no loss or error rate was measured on it" in text
    assert "of its last checkpoint, run/train-000000200.json: saved at epoch 8 of 8" in text
    assert "--epochs" not in text and "no run resumes in the folder of an average" in text
    settled = epochs(FLAT)
    assert verdict(epoch=50, epochs=50, history=settled, stopped="all 50 epochs are done", **AVERAGE) == "unknown"
    assert "when the run had not finished" in words(epoch=3, epochs=75, history=epochs(FALLING[:3]), **AVERAGE)


def test_an_average_whose_weights_show_a_fault_has_that_verdict():
    evidence = {"epoch": 50, "epochs": 50, "history": epochs(FLAT), "stopped": "all 50 epochs are done", **AVERAGE}
    assert verdict(**evidence, not_finite=3, answers=None) == "broken"
    deaf = Answers(blank_share=1.0, text="", difference=0.0, dead={"layer_3": 1.0})
    assert verdict(**evidence, answers=deaf) == "collapsed" and "never answer" in words(**evidence, answers=deaf)
    # Nothing but blanks for a synthetic sentence says little of a run that has learnt.
    assert verdict(**evidence, answers=Answers(blank_share=1.0, text="", difference=2.0)) == "unknown"


@pytest.mark.parametrize("word", VERDICTS)
def test_every_verdict_has_words_that_begin_with_it(word):
    assert VERDICTS[word].startswith(word.upper() + ":")
