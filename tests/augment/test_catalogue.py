import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.augment.catalogue import (
    AUGMENTATIONS,
    DOMAINS,
    ValueRange,
    parse_augmentations,
    parse_range,
)
from deepspeech_training.errors import EXIT_FLAGS, FlagError

# DeepSpeech 0.9.3, training/deepspeech_training/util/augmentations.py: parameters with their defaults.
DEEPSPEECHS = {
    "overlay": {"source": None, "snr": "3", "layers": "1"},
    "codec": {"bitrate": "3200"},
    "reverb": {"delay": "20", "decay": "10"},
    "resample": {"rate": "8000"},
    "volume": {"dbfs": "3.0103"},
    "pitch": {"pitch": "1.075~0.125"},
    "tempo": {"factor": "1.1", "max_time": "-1"},
    "warp": {"nt": "1", "nf": "1", "wt": "0.1", "wf": "0"},
    "frequency_mask": {"n": "3", "size": "2"},
    "time_mask": {"n": "3", "size": "10"},
    "dropout": {"rate": "0.05"},
    "add": {"stddev": "5"},
    "multiply": {"stddev": "5"},
}
# The examples of DeepSpeech's doc/TRAINING.rst.
DOCUMENTED = (
    "overlay[p=0.1,source=noise,layers=1,snr=50:20~10]",
    "overlay[p=0.3,source=noise,layers=10:6,snr=10:-10~5]",
    "reverb[p=0.1,delay=50.0~30.0,decay=10.0:2.0~1.0]",
    "resample[p=0.1,rate=12000:8000~4000]",
    "codec[p=0.1,bitrate=48000:16000]",
    "volume[p=0.1,dbfs=-10:-40]",
    "pitch[p=0.1,pitch=1~0.2]",
    "tempo[p=0.1,factor=1~0.5]",
    "warp[p=0.1,nt=4,nf=1,wt=0.5:1.0,wf=0.1:0.2]",
    "frequency_mask[p=0.1,n=1:3,size=1:5]",
    "time_mask[p=0.1,domain=signal,n=3:10~2,size=50:100~40]",
    "dropout[p=0.1,rate=0.05]",
    "add[p=0.1,domain=signal,stddev=0~0.5]",
    "multiply[p=0.1,domain=features,stddev=0~0.5]",
)


def parsed(text: str):
    (augmentation,) = parse_augmentations([text])
    return augmentation


def error_of(text: str) -> str:
    with pytest.raises(FlagError) as caught:
        parse_augmentations([text])
    assert caught.value.exit_code == EXIT_FLAGS
    return str(caught.value)


def test_deepspeechs_thirteen_are_there_with_their_parameters_and_defaults():
    for name, parameters in DEEPSPEECHS.items():
        known = {key: parameter.default for key, parameter in AUGMENTATIONS[name].parameters.items()}
        assert {key: known[key] for key in parameters} == parameters, name
    assert {name for name, kind in AUGMENTATIONS.items() if not kind.is_new} == set(DEEPSPEECHS)


@pytest.mark.parametrize("text", DOCUMENTED)
def test_the_examples_of_deepspeechs_documentation_are_read(text):
    assert parsed(text).p == (0.3 if "p=0.3" in text else 0.1)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_an_augmentation_says_of_itself_is_read_back_to_the_same(name):
    needs_source = AUGMENTATIONS[name].parameters.get("source", None)
    text = f"{name}[p=0.25,source=a b.csv]" if needs_source is not None else f"{name}[p=0.25]"
    assert parsed(str(parsed(text))) == parsed(text)
    assert set(AUGMENTATIONS[name].domains) <= set(DOMAINS)


def test_coquis_names_of_the_parameters_of_warp_are_read():
    assert parsed("warp[num_t=4,num_f=2,warp_t=0.5,warp_f=0.1]") == parsed("warp[nt=4,nf=2,wt=0.5,wf=0.1]")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5", (5, 5, 0)),
        ("-7.5~17.5", (-7.5, -7.5, 17.5)),
        ("50:20~10", (50, 20, 10)),
        ("0.5:1", (0.5, 1, 0)),
        (" 1e-3 : 2 ", (0.001, 2, 0)),
        ("-10:-40", (-10, -40, 0)),
    ],
)
def test_the_four_forms_of_a_value(text, found):
    one = parse_range(text)
    assert (one.start, one.end, one.radius) == found


@pytest.mark.parametrize("text", ["", "x", "1:2:3", "1~2~3", "1~", ":2", "1;2", "nan", "inf", "1~-2"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(ValueError):
        parse_range(text)


def test_the_clock_leads_from_start_to_end_and_the_radius_is_the_same_throughout():
    value = ValueRange(50, 20, 10)
    assert [value.pick(clock, 0.5) for clock in (0, 0.5, 1)] == [50, 35, 20]
    assert (value.pick(1, 0), value.pick(1, 1)) == (10, 30)
    assert [ValueRange(3, 10, 0, whole=True).pick(clock, 0.5) for clock in (0, 0.49, 1)] == [3, 6, 10]


@given(*[st.floats(-100, 100)] * 2, st.floats(0, 50), st.floats(0, 1), st.floats(0, 1))
def test_no_value_that_is_drawn_leaves_the_bounds(start, end, radius, clock, uniform):
    value = ValueRange(start, end, radius)
    assert value.low - 1e-9 <= value.pick(clock, uniform) <= value.high + 1e-9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pich", "there is no augmentation 'pich'; did you mean pitch?\nThere are overlay, codec, "),
        ("Frequency-Mask", "did you mean frequency_mask?"),
        ("noise[snt=3]", "there is no parameter 'snt'; did you mean snr?\nnoise has p, start, snr, slope, source."),
        ("noise[3]", "'3' is not of the form parameter=value"),
        ("gain[p=2]", "p=2 must be at least 0 and at most 1; the nearest is 1"),
        ("gain[p=0:1]", "p=0:1 must be one number; the nearest is 0"),
        ("gain[db=0~200]", "db=0~200 must always be at least -120 and at most 120; the nearest is 0~120"),
        ("dropout[rate=0.9:1.2~0.2]", "the nearest is 0.9:1"),
        ("codec[bitrate=2.5]", "bitrate=2.5 must be of whole numbers"),
        ("codec[codec=mp4]", "codec=mp4 must be one of opus, mp3; did you mean mp3?"),
        ("time_mask[domain=spectogram]", "did you mean spectrogram?"),
        ("pitch[domain=signal]", "there is no parameter 'domain'"),
        ("overlay[p=0.5]", "source is missing\nWrite overlay[source=...]: "),
        ("tempo[factor=fast]", "factor=fast a value is written 5, 5~2"),
        ("tempo[factor=1,factor=2]", "factor is given twice"),
        ("add[stddev=1e30]", "stddev=1e30 must be at most 1e+09; the nearest is 1e+09"),
        ("multiply[stddev=-1e10]", "stddev=-1e10 must be at least -1e+09; the nearest is -1e+09"),
        ("rir[source=a,b.wav]", "'b.wav' is not of the form parameter=value (a path with a comma in it cannot"),
        ("tempo[factor=1", "it is written name[p=0.5,parameter=value]"),
    ],
)
def test_a_wrong_line_says_what_is_nearest(text, message):
    error = error_of(text)
    assert error.startswith(f"--augment {text}: ") and message in error
