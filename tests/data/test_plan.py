from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.data.plan import BatchRules, Plan, clip_keys
from deepspeech_training.data.speech_sample import SpeechSample


def sample(number: int, num_samples: int, size: int | None = None) -> SpeechSample:
    return SpeechSample(
        f"train.csv:{number + 2}",
        f"/{number}.wav",
        num_samples if size is None else size,
        "a",
        (0,),
        num_samples,
        None,
        number + 2,
        "train.csv",
    )


def samples_of(lengths) -> list[SpeechSample]:
    return [sample(number, int(length)) for number, length in enumerate(lengths)]


def speech_lengths(count=600, seed=1) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(11, 0.6, count).astype(int)


def weight(plan: Plan, batch) -> int:
    return len(batch) * max(plan.samples[i].num_samples for i in batch)


LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)
RULES = st.builds(
    BatchRules,
    batch_size=st.integers(1, 9),
    batch_seconds=st.sampled_from([0.0, 1.0, 10.0, 33.3, 120.0]),
    shuffle=st.booleans(),
    reverse=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
    unit=st.just(1),
)


@given(LENGTHS, RULES, st.integers(0, 3))
def test_every_sample_is_in_exactly_one_batch_of_an_epoch(lengths, rules, epoch):
    batches = Plan(samples_of(lengths), rules).batches(epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(batches)


@given(LENGTHS, RULES)
def test_the_plan_is_a_function_of_seed_and_epoch_alone(lengths, rules):
    straight, crooked = Plan(samples_of(lengths), rules), Plan(samples_of(lengths), rules)
    forward = [straight.batches(epoch) for epoch in (0, 1, 2)]
    assert [crooked.batches(epoch) for epoch in (2, 0, 1)] == [forward[2], forward[0], forward[1]]


@given(LENGTHS, RULES)
def test_batch_size_and_seconds_are_kept_and_only_one_batch_is_short(lengths, rules):
    plan = Plan(samples_of(lengths), rules)
    for epoch in (0, 1):
        batches = plan.batches(epoch)
        if rules.batch_seconds:
            assert all(len(b) == 1 or weight(plan, b) <= rules.batch_seconds for b in batches)
        else:
            sizes = Counter(map(len, batches))
            whole, rest = divmod(len(lengths), rules.batch_size)
            assert sizes == Counter({rules.batch_size: whole} if whole else {}) + Counter({rest: 1} if rest else {})


@settings(max_examples=300)
@given(LENGTHS, RULES)
def test_no_batch_of_any_epoch_is_heavier_than_the_heaviest(lengths, rules):
    plan = Plan(samples_of(lengths), rules)
    heaviest = plan.heaviest_batch()
    assert len(set(heaviest)) == len(heaviest)
    most = weight(plan, heaviest)
    assert all(weight(plan, batch) <= most for epoch in range(4) for batch in plan.batches(epoch))
    if rules.batch_seconds:
        assert len(heaviest) == 1 or most <= rules.batch_seconds


def test_an_empty_plan_has_no_batches():
    plan = Plan([], BatchRules())
    assert plan.batches(0) == plan.batches(1) == [] and plan.heaviest_batch() == ()


def test_another_seed_gives_other_batches():
    plans = [Plan(samples_of(speech_lengths()), BatchRules(batch_size=8, seed=seed)) for seed in (1, 2)]
    assert plans[0].batches(1) != plans[1].batches(1)


def test_the_first_epoch_goes_from_short_to_long_and_mixes_clips_of_equal_length():
    lengths = [5] * 200 + [3] * 200
    plan = Plan(samples_of(lengths), BatchRules(batch_size=4))
    order = [i for batch in plan.batches(0) for i in batch]
    assert [lengths[i] for i in order] == sorted(lengths)
    assert order[:200] != sorted(order[:200])  # not by row: a CSV sorted by word would be learnt word by word
    reverse = Plan(samples_of(lengths), BatchRules(batch_size=4, reverse=True)).batches(0)
    assert [lengths[i] for batch in reverse for i in batch] == sorted(lengths, reverse=True)


def test_later_epochs_are_shuffled_with_little_padding_and_new_neighbours():
    lengths = speech_lengths()
    plan = Plan(samples_of(lengths), BatchRules(batch_size=16))
    order = np.random.default_rng(0).permutation(len(lengths))
    at_random = [lengths[order[i : i + 16]] for i in range(0, len(order), 16)]
    random_share = 1 - lengths.sum() / sum(len(b) * b.max() for b in at_random)
    assert plan.padding_share(1) < random_share / 3
    means = [np.mean(lengths[list(batch)]) for batch in plan.batches(1)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4  # the batches come in no order

    def pairs(epoch):
        return {pair for batch in plan.batches(epoch) for pair in combinations(sorted(batch), 2)}

    assert len(pairs(1) & pairs(2)) < 0.4 * len(pairs(1))


def test_noshuffle_is_by_file_size_and_rows_in_every_epoch():
    sizes = [30, 10, 20, 10, 30]
    samples = [sample(number, 7 * number + 1, size) for number, size in enumerate(sizes)]
    plan = Plan(samples, BatchRules(batch_size=2, shuffle=False))
    assert plan.batches(0) == plan.batches(5) == [(1, 3), (2, 0), (4,)]
    assert Plan(samples, BatchRules(batch_size=2, shuffle=False, reverse=True)).batches(0) == [(0, 4), (2, 1), (3,)]


@pytest.mark.parametrize(
    "other",
    [
        (samples_of([3, 4]), BatchRules(seed=1)),
        (samples_of([3, 5]), BatchRules()),
        (samples_of([4, 3]), BatchRules()),
        ([sample(0, 3, 9), sample(1, 4)], BatchRules()),
        (samples_of([3, 4, 5]), BatchRules()),
    ],
)
def test_the_fingerprint_tells_other_batches(other):
    assert Plan(samples_of([3, 4]), BatchRules()).fingerprint() == Plan(samples_of([3, 4]), BatchRules()).fingerprint()
    assert Plan(samples_of([3, 4]), BatchRules()).fingerprint() != Plan(*other).fingerprint()


def test_a_clip_key_depends_on_seed_step_and_clip_but_not_on_its_neighbours():
    samples = samples_of([1] * 500)
    keys = clip_keys(samples, seed=1, step=2)
    assert keys.dtype == np.uint32 and len(set(keys.tolist())) == 500
    assert clip_keys(samples[7:9], seed=1, step=2).tolist() == keys[7:9].tolist()
    for other in (clip_keys(samples, seed=2, step=2), clip_keys(samples, seed=1, step=3)):
        assert not (other == keys).any()
    assert abs(np.mean(keys / 2**32) - 0.5) < 0.05
