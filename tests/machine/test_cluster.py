"""Flags, TF_CONFIG, Slurm's variables, Kubernetes' -> the workers, and which of them this process is."""

import json

import pytest

from deepspeech_training.config.groups import ClusterFlags
from deepspeech_training.errors import FlagError
from deepspeech_training.machine.cluster import find_cluster

TWO = ("one:2222", "two:2222")
SLURM = {
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_NODELIST": "gpu[08-09]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}


def tf_config(cluster: dict, kind: str, index: int) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_without_a_word_a_process_trains_alone():
    assert find_cluster(ClusterFlags(), {}) is None
    assert find_cluster(ClusterFlags(("one:2222",), 0), {}) is None


def test_the_flags_name_workers_and_rank():
    cluster = find_cluster(ClusterFlags(TWO, 1), tf_config({"worker": ["other:1"]}, "worker", 0))
    assert (cluster.workers, cluster.rank, cluster.is_first) == (TWO, 1, False)
    assert cluster.line() == "Cluster   worker 1 (two:2222) of 2, as --workers says"


def test_the_rank_of_a_pod_is_the_index_of_its_job():
    cluster = find_cluster(ClusterFlags(TWO), {"JOB_COMPLETION_INDEX": "1"})
    assert cluster.rank == 1 and "JOB_COMPLETION_INDEX" in cluster.line()


def test_the_chief_of_tf_config_is_the_first_worker():
    found = {"chief": ["one:2222"], "worker": ["two:2222", "three:2222"]}
    assert find_cluster(ClusterFlags(), tf_config(found, "chief", 0)).rank == 0
    cluster = find_cluster(ClusterFlags(), tf_config(found, "worker", 1))
    assert (cluster.workers[cluster.rank], cluster.rank) == ("three:2222", 2)


def test_slurm_says_it_all_and_each_task_of_a_node_has_a_port():
    cluster = find_cluster(ClusterFlags(), SLURM)
    assert cluster.rank == 2 and "Slurm's job 77" in cluster.line()
    hosts, ports = zip(*(worker.split(":") for worker in cluster.workers), strict=True)
    assert hosts == ("gpu08", "gpu08", "gpu09")
    assert int(ports[1]) == int(ports[0]) + 1 and ports[2] == ports[0]


def test_a_batch_script_of_slurm_outside_of_srun_trains_alone():
    assert find_cluster(ClusterFlags(), {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) is None
    assert find_cluster(ClusterFlags(("none",)), SLURM) is None


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        (ClusterFlags(TWO), {}, "Give --rank"),
        (ClusterFlags(TWO, 2), {}, "the rank is 0 to 1"),
        (ClusterFlags((), 1), {}, "Give --workers"),
        (ClusterFlags(("one:2222", "two"), 0), {}, "'two' is no worker"),
        (ClusterFlags(("one:2222", "two:99999"), 0), {}, "'two:99999' is no worker"),
        (ClusterFlags(("one:2222", "one:2222"), 0), {}, "there twice"),
        (ClusterFlags(), {"TF_CONFIG": "{"}, "TF_CONFIG in the environment cannot be read"),
        (ClusterFlags(), tf_config({"worker": [*TWO]}, "ps", 0), "'ps' does not train"),
        (ClusterFlags(), {**SLURM, "SLURM_STEP_NODELIST": "gpu[1-"}, "its variables do not say where"),
        (ClusterFlags(), {**SLURM, "SLURM_DISTRIBUTION": "cyclic"}, "--distribution=block"),
    ],
)
def test_what_is_wrong_is_said(flags, environment, words):
    with pytest.raises(FlagError, match="(?s)" + words.replace("(", r"\(")):
        find_cluster(flags, environment)
