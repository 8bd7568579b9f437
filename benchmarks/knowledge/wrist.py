"""The demo's data: ten people's exercises at the wrist, three of them clients (WRIST.md)."""

from benchmarks.knowledge.tasks import Client, Keep, Task
from edge_sim.wrist import data, owner
from stillhouse.compress.recordings import Recordings
from stillhouse.entities import CentralModelSpec, FamilyGrid


def task(seed: int, keep: Keep) -> Task:
    """The central model of `seed` trains about 16 s on one thread."""
    registration = owner.prepare(seed, keep=lambda _, make: keep("central model", make))
    everyone, who = data.read(), data.people(seed)
    training, transfer, evaluation = (
        Recordings.from_parquet(each)
        for each in (registration.training, registration.transfer, registration.evaluation)
    )
    own = [data.client(everyone, person, seed) for person in who.clients]
    return Task(
        name="wrist",
        seed=seed,
        spec=CentralModelSpec(
            architecture=registration.architecture,
            preprocessing=registration.preprocessing,
            labels=registration.labels,
            files={},
            grid=FamilyGrid(),
        ),
        weights=registration.weights,
        grid=FamilyGrid(),
        training=training,
        transfer=transfer,
        evaluation=evaluation,
        test=everyone.of(who.clients),
        clients=tuple(Client(each.train, each.validation, each.test) for each in own),
    )
