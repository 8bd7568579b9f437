"""What else could have been done for a device: scored on the same test windows, by the same code.

Each baseline trains with what the product trains with (`edge/train.py`, the owner's own recipe), on
the same data and as many steps. Nobody but the demo's harness looks at the test recordings.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import (
    is_parametrized,
    remove_parametrizations,
)

from actors.deliveries import payloads
from edge_sim.device import SimulatedWorkbench
from edge_sim.scenario import Device
from edge_sim.wrist import data, owner
from edge_sim.wrist.central import BATCH, train_central
from stillhouse.chunks import chunks_for
from stillhouse.compress.arch import Network, build, load_state, load_weights, weights_of
from stillhouse.compress.architectures import network
from stillhouse.compress.behaviour import Behaviour
from stillhouse.compress.container import Family
from stillhouse.compress.layout import Role
from stillhouse.compress.losses import distillation_loss
from stillhouse.compress.measure import activation_bytes
from stillhouse.compress.nested import recalibrate
from stillhouse.compress.pack import build_pack
from stillhouse.compress.qat import quantisation_aware
from stillhouse.compress.quantize import (
    BITS,
    Floats,
    block_scales,
    decode,
    encode,
    high_planes,
    packed_length,
    steps,
)
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.sampler import WindowSampler
from stillhouse.edge.train import accuracy, load_student, train
from stillhouse.edge.workbench import PrivateData
from stillhouse.entities import (
    ArchitectureSpec,
    Entity,
    ProfileSpec,
    Student,
    TrainingRecipe,
    WeightsRecipe,
    digest_of,
)
from stillhouse.wire.messages import ModelCard


class Baseline(Entity):
    """One alternative for a device; sizes are of its weights, and with live activations."""

    name: str
    student: str
    accuracy: float
    accuracy_se: float
    storage_bytes: int
    memory_bytes: int
    latency_p95_ms: float | None = None

    def fits(self, spec: ProfileSpec) -> bool:
        """Whether the profile has room for it, and time where that is known."""
        return (
            self.storage_bytes <= spec.storage_bytes
            and self.memory_bytes <= spec.memory_bytes
            and (self.latency_p95_ms or 0) <= spec.latency_p95_ms
        )


class Case(Entity):
    """One person's student, and all that its baselines depend on; jobs alike share it."""

    seed: int
    central_epochs: int
    person: int
    student: Student
    recipe: TrainingRecipe
    family_digest: str
    device: Device | None = None  # where the profile and the latency matter
    calibration_ms: tuple[tuple[Student, float], ...] = ()


@dataclass(frozen=True)
class Bench:
    """What a case names, opened: the owner's files, the system's family, the person's data."""

    case: Case
    registration: owner.Registration
    family: Family

    @cached_property
    def person(self) -> data.ClientData:
        everyone, who = data.read(), data.people(self.case.seed)
        return data.client(everyone, who.clients[self.case.person], self.case.seed)

    @cached_property
    def behaviour(self) -> Behaviour:
        """What the product sends of the central model's behaviour."""
        recipes = chunks_for(self.family.table, self.case.student, len(self.family.public))
        wanted = [each for each in recipes if not isinstance(each, WeightsRecipe)]
        return Behaviour.joined(list(map(bytes, payloads(build_pack(self.family, wanted)))))

    def central(self) -> Network:
        registration = self.registration
        return load_weights(build(registration.architecture), registration.weights)

    def student(self, student: Student) -> Network:
        """A student of the family, as a device receives it."""
        recipes = chunks_for(self.family.table, student, 0)
        chunks = [bytes(part) for part in payloads(build_pack(self.family, recipes))]
        return load_student(self.registration.architecture, student, chunks)

    def personalised(self, model: Network, *, anchored: bool = True) -> Network:
        """Trained as the product's devices train; `anchored` by the central model's behaviour."""
        train(
            model,
            self.person.train,
            self.person.validation,
            self.registration.preprocessing,
            self.case.recipe,
            self.family.public if anchored else None,
            self.behaviour if anchored else None,
        )
        return model

    def result(self, name: str, student: str, model: Network, size: int) -> Baseline:
        """The score on the test windows, and what the profile must have room for."""
        pre = self.registration.preprocessing
        score = accuracy(model, self.person.test, pre, self.case.seed)
        window = (len(pre.mean), pre.window)
        return Baseline(
            name=name,
            student=student,
            accuracy=score.accuracy,
            accuracy_se=score.se,
            storage_bytes=size,
            memory_bytes=size + activation_bytes(plain(model), window),
        )


def quantise_only(bench: Bench) -> Baseline:
    """The central model, its weights rounded to the student's bits, trained nowhere."""
    bits = min(bench.case.student.bits, BITS)
    model, spec = bench.central(), bench.registration.architecture
    quantise(model, spec, bits)
    size = size_of(spec, None, bits)
    return bench.result("quantise_only", f"central model int{bits}", model, size)


def scratch(bench: Bench) -> Baseline:
    """A net of the student's size from random weights, on the person's private labels alone."""
    case, pre = bench.case, bench.registration.preprocessing
    narrow = narrowed(bench.registration.architecture, case.student)
    windows = len(bench.person.train.windows(pre)[1])
    epochs = max(1, round(case.recipe.steps / max(1, windows // BATCH)))
    model = train_central(narrow, bench.person.train, pre, case.seed, epochs=epochs)
    quantise(model, narrow, case.student.bits)
    size = size_of(narrow, None, case.student.bits)
    return bench.result("scratch", str(case.student), model, size)


def owner_alone(bench: Bench, weights: bytes) -> Baseline:
    """`weights` (from `owner_net`) personalised as the product personalises its student."""
    student = bench.case.student
    narrow = narrowed(bench.registration.architecture, student)
    model = load_weights(build(narrow), weights).eval()
    if student.bits <= BITS:
        quantisation_aware(model, grid_of(model, narrow, None, student.bits), student.bits)
    bench.personalised(model)
    size = size_of(narrow, None, student.bits)
    return bench.result("owner_alone", str(student), model, size)


def without_behaviour(bench: Bench) -> Baseline:
    """The product's student, personalised without what the central model says of public windows."""
    student = bench.case.student
    model = bench.personalised(bench.student(student), anchored=False)
    size = bench.family.table.facts(student).storage_bytes
    return bench.result("without_behaviour", str(student), model, size)


def random_fitting(bench: Bench) -> Baseline:
    """A student drawn among those whose size fits, personalised; is it fast enough, too?"""
    device = bench.case.device
    assert device is not None  # noqa: S101  what fits is a question of a profile
    spec = device.profile
    fitting = [
        row
        for row in bench.family.table.rows
        if row.storage_bytes <= spec.storage_bytes and row.memory_bytes <= spec.memory_bytes
    ]
    draw = int(digest_of([bench.case.seed, device.name])[:8], 16)
    row = fitting[np.random.default_rng(draw).integers(len(fitting))]
    model = bench.personalised(bench.student(row.student))
    found = bench.result("random_fitting", str(row.student), model, row.storage_bytes)
    return found.model_copy(update={"latency_p95_ms": latency_ms(bench, device, row.student)})


def central_personalised(bench: Bench) -> Baseline:
    """The reference that no device can hold: the central model, personalised in the same way."""
    model = bench.personalised(bench.central())
    size = size_of(bench.registration.architecture, None, 32)
    return bench.result("central_personalised", "central model", model, size)


BASELINES: Mapping[str, Callable[[Bench], Baseline]] = {
    "quantise_only": quantise_only,
    "scratch": scratch,
    "without_behaviour": without_behaviour,
    "random_fitting": random_fitting,
    "central_personalised": central_personalised,
}  # and owner_alone, which needs a net that several cases share


def owner_net(registration: owner.Registration, student: Student, seed: int) -> Network:
    """A net of the student's shape, distilled alone by the owner as its family is: the same loss,
    windows and number of steps, one net instead of all."""
    recipe, pre = owner.RECIPE, registration.preprocessing
    central = load_weights(build(registration.architecture), registration.weights).eval()
    training, transfer = (
        Recordings.from_parquet(each) for each in (registration.training, registration.transfer)
    )
    rng = np.random.default_rng(seed)
    labelled, unlabelled = (
        WindowSampler(each, pre, rng, pre.rotation_sd_rad) for each in (training, transfer)
    )
    windows = training.windows(pre)[0]
    count = recipe.epochs * max(1, len(windows) // (recipe.labelled + recipe.unlabelled))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = build(registration.architecture, student).train()
    optimiser = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, 0.9, weight_decay=recipe.weight_decay,
        nesterov=True,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=count + 1, pct_start=0.15
    )
    for _ in range(count):
        x, labels = labelled.draw(recipe.labelled)
        inputs = torch.from_numpy(np.concatenate([x, unlabelled.draw(recipe.unlabelled)[0]]))
        with torch.no_grad():
            soft = central(inputs)
        output, targets = model(inputs), torch.from_numpy(labels)
        hard = F.cross_entropy(
            output[: len(labels)], targets, label_smoothing=recipe.label_smoothing
        )
        optimiser.zero_grad()
        (0.5 * distillation_loss(output, soft, recipe.temperature) + 0.5 * hard).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    both = rng.permutation(np.concatenate([windows, transfer.windows(pre)[0]]))
    return recalibrate(model, torch.from_numpy(both[: recipe.calibration_windows]))


def latency_ms(bench: Bench, device: Device, student: Student) -> float:
    """The p95 that the device would measure of `student`."""
    case, registration = bench.case, bench.registration
    card = ModelCard(
        architecture=registration.architecture,
        preprocessing=registration.preprocessing,
        labels=registration.labels,
        transfer_inputs=bench.family.public.digest(),
        transfer_input_count=len(bench.family.public),
    )
    private = PrivateData(bench.person.train, bench.person.validation)
    host = dict(case.calibration_ms)
    works = SimulatedWorkbench(private, bench.family.public, device.model, host, case.seed)
    quantised, cores = student.bits <= BITS, device.profile.cpu_cores
    return works.latency_ms(card, student, cores, quantised=quantised, seed=case.recipe.seed)[1]


def plain(model: nn.Module) -> nn.Module:
    """A copy without the rounding that only training needs: it would count as live activations."""
    copied = copy.deepcopy(model)
    for module in list(copied.modules()):
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    return copied


def narrowed(spec: ArchitectureSpec, student: Student) -> ArchitectureSpec:
    """The student's shape as an architecture of its own."""
    return ArchitectureSpec(id=spec.id, kwargs=network(spec, student).model_dump())


def quantise(model: Network, spec: ArchitectureSpec, bits: int) -> None:
    """Round the weights of `model` in place; 32 bits stay as they are."""
    if bits <= BITS:
        values, grids = weights_of(model), grid_of(model, spec, None, bits)
        load_state(model, {name: rounded(values[name], grids[name], bits) for name in grids})


def grid_of(
    model: nn.Module, spec: ArchitectureSpec, student: Student | None, bits: int
) -> dict[str, Floats]:
    """For each weight, the step of its integer grid: one scale an output channel."""
    values, grids = weights_of(model), {}
    for tensor in network(spec, student).tensors():
        if tensor.role is Role.WEIGHT:
            value, whole = values[tensor.name], (tensor.shape[1],)
            grids[tensor.name] = steps(block_scales(value, whole), whole, value.ndim, bits)
    return grids


def rounded(weight: Floats, step: Floats, bits: int) -> Floats:
    """The weight as codes of `bits` stand for it; `step` is of those codes."""
    fine = step / np.float32(2 ** (BITS - bits))
    return decode(high_planes(encode(weight, fine), bits), step, bits)


def size_of(spec: ArchitectureSpec, student: Student | None, bits: int) -> int:
    """Bytes with packed weights, a float32 scale an output channel, and the other floats."""
    size = 0
    for tensor in network(spec, student).tensors():
        count = int(np.prod(tensor.shape))
        if tensor.role is Role.WEIGHT and bits <= BITS:
            size += packed_length(count, bits) + 4 * tensor.shape[0]
        else:
            size += 4 * count
    return size
