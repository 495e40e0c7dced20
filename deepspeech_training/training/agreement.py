"""Whether all workers of a training have the same code, flags and data: else they would train something else each."""

from typing import Any

from deepspeech_training.config import FLAGS, as_dict
from deepspeech_training.config.groups import PerformanceFlags
from deepspeech_training.data.plan import Plan
from deepspeech_training.errors import UserError
from deepspeech_training.training.backends.base import Machine
from deepspeech_training.training.run import Run
from deepspeech_training.version import VERSION

# What may differ: what is the machine's own, and what only the first worker does. So may paths.
OWN_FLAGS = {*PerformanceFlags.__dataclass_fields__, "train_scorer"} - {"automatic_mixed_precision"}


def check_same(run: Run, machine: Machine, plan: Plan) -> None:
    """Compare what this worker has with what the first has.

    Raises:
        UserError: they differ; says in what.
    """
    if run.call.cluster is None:
        return
    told = machine.peers.exchange(_facts(run, machine, plan))
    first, name = told[0], run.call.cluster.name
    for rank, facts in enumerate(told):
        for what in {**first, **facts}:
            if facts.get(what) != first.get(what):
                raise UserError(
                    f"The workers would not train the same: {what} is {facts.get(what)} for {name(rank)}, and "
                    f"{first.get(what)} for {name(0)}\nAll need the same version, flags and files, as many devices "
                    "each, and one --checkpoint_dir that all of them see."
                )


def _facts(run: Run, machine: Machine, plan: Plan) -> dict[str, Any]:
    flags = as_dict(run.config)
    return {
        "the version": VERSION,
        "the number of GPUs": len(machine.devices) if machine.on_gpu else 0,
        "the precision": machine.compute_dtype,
        "what it begins with": run.source.kind,
        **{f"--{n}": v for n, v in flags.items() if not FLAGS[n].quiet and not FLAGS[n].path and n not in OWN_FLAGS},
        "the plan of the batches (a checksum)": plan.fingerprint(),
        **{
            f"the list of {found.set} clips (a checksum)": found.fingerprint
            for found in run.data_summary()
            if found.set != "test"
        },
    }
