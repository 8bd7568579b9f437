"""Training on a device: deterministic, on the grid, anchored, and undone when it hurts."""

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURE, PRE, family, recordings, student

from stillhouse.chunks import weights_chunks
from stillhouse.compress.arch import Network
from stillhouse.compress.behaviour import Behaviour, behaviour_chunk
from stillhouse.compress.measure import logits
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.slices import assemble, weights_chunk
from stillhouse.edge.train import Training, accuracy, load_student, train, trainable_classes
from stillhouse.entities import BehaviourRecipe, TrainingRecipe
from stillhouse.errors import Invalid, VerificationFailed

POINT = student(1, 1, 2)
CHUNKS = [weights_chunk(family(), r) for r in weights_chunks(family().table, POINT)]
PRIVATE, VALIDATION = recordings(7), recordings(8)
RECIPE = TrainingRecipe(steps=60, batch=32, seed=5)
BEHAVIOUR = Behaviour.from_bytes(
    behaviour_chunk(family(), BehaviourRecipe(top_k=2, first=0, count=20))
)


def trained(recipe: TrainingRecipe = RECIPE, **public) -> tuple[Network, Training]:
    model = load_student(ARCHITECTURE, POINT, CHUNKS)
    return model, train(model, PRIVATE, VALIDATION, PRE, recipe, **public)


def outputs(model: Network) -> np.ndarray:
    return logits(model, VALIDATION.windows(PRE)[0])


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_a_loaded_student_computes_with_the_weights_that_were_sent(bits: int) -> None:
    point = student(0.5, 1, 1, bits)
    chunks = [weights_chunk(family(), r) for r in weights_chunks(family().table, point)]
    model, sent = load_student(ARCHITECTURE, point, chunks), assemble(ARCHITECTURE, chunks).state()
    torch.testing.assert_close(
        model.stem.convolution.weight.detach(), torch.tensor(sent["stem.convolution.weight"])
    )
    torch.testing.assert_close(model.head.weight.detach(), torch.tensor(sent["head.weight"]))


def test_chunks_of_another_student_are_refused() -> None:
    with pytest.raises(VerificationFailed):
        load_student(ARCHITECTURE, student(1, 2, 2), CHUNKS)


@pytest.mark.parametrize("anchored", [True, False])
def test_training_learns_and_is_the_same_on_every_run(anchored: bool) -> None:
    public = {"public": family().public, "behaviour": BEHAVIOUR} if anchored else {}
    (one, training), (two, _) = trained(**public), trained(**public)
    np.testing.assert_array_equal(outputs(one), outputs(two))
    assert not training.rolled_back
    if not anchored:  # the tiny central model is random: what it says of public windows is noise
        assert training.after.accuracy > training.before.accuracy + 0.2


def test_trained_weights_stay_on_the_familys_grid() -> None:
    model, _ = trained()
    steps = assemble(ARCHITECTURE, CHUNKS).steps["head.weight"]
    codes = model.head.weight.detach().numpy() / steps + 127.5
    np.testing.assert_allclose(codes, codes.round(), atol=1e-2)
    assert codes.min() >= -0.01
    assert codes.max() <= 255.01


def test_no_steps_only_measure_the_adapted_student() -> None:
    heard: list[float] = []
    model = load_student(ARCHITECTURE, POINT, CHUNKS)
    recipe = RECIPE.model_copy(update={"steps": 3})
    train(model, PRIVATE, VALIDATION, PRE, recipe, progress=heard.append)
    assert heard == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_clear_loss_on_validation_is_undone() -> None:
    """Private labels that contradict validation make any student worse there."""
    good, _ = trained()
    before = outputs(good)
    wrong = Recordings(PRIVATE.samples, PRIVATE.spans, 2 - PRIVATE.labels, PRIVATE.sources)
    training = train(good, wrong, VALIDATION, PRE, RECIPE)
    assert training.rolled_back
    np.testing.assert_array_equal(outputs(good), before)


def test_a_class_with_few_labels_does_not_train() -> None:
    lengths = np.where(PRIVATE.labels == 1, 30, PRIVATE.lengths())
    short = Recordings(
        PRIVATE.samples,
        np.stack([PRIVATE.spans[:, 0], PRIVATE.spans[:, 0] + lengths], axis=1),
        PRIVATE.labels,
        PRIVATE.sources,
    )
    assert trainable_classes(PRIVATE, PRE) == [0, 1, 2]
    assert trainable_classes(short, PRE) == [0, 2]
    assert trainable_classes(PRIVATE.unlabelled(), PRE) == []


def test_without_labels_there_is_nothing_to_train_on() -> None:
    model = load_student(ARCHITECTURE, POINT, CHUNKS)
    with pytest.raises(Invalid):
        train(model, PRIVATE.unlabelled(), VALIDATION, PRE, RECIPE)


def test_behaviour_on_windows_that_the_device_lacks_is_refused() -> None:
    late = Behaviour(15, 3, BEHAVIOUR.indices, BEHAVIOUR.odds)
    with pytest.raises(VerificationFailed):
        trained(public=family().public, behaviour=late)


def test_an_accuracy_has_an_error_even_if_every_window_was_right() -> None:
    model = load_student(ARCHITECTURE, POINT, CHUNKS)
    x, _, owner = VALIDATION.windows(PRE)
    flattering = Recordings(VALIDATION.samples, VALIDATION.spans, np.full(6, 0), VALIDATION.sources)
    score = accuracy(model, flattering, PRE, seed=1)
    assert score == accuracy(model, flattering, PRE, seed=1)
    assert score.samples == len(x) == len(owner)
    assert score.se > 0


def statistics(model: Network) -> list[np.ndarray]:
    return [v.numpy().copy() for name, v in model.state_dict().items() if "running" in name]


def test_where_only_the_head_trains_the_blocks_stay_as_they_were() -> None:
    before = load_student(ARCHITECTURE, POINT, CHUNKS)
    after, _ = trained(RECIPE.model_copy(update={"trainable": 0.0}))
    assert np.array_equal(
        before.stages[0]["0"].first.convolution.weight.detach(),
        after.stages[0]["0"].first.convolution.weight.detach(),
    )
    assert not np.array_equal(before.head.weight.detach(), after.head.weight.detach())


@pytest.mark.parametrize("adapt", [True, False])
def test_batch_norms_adapt_where_the_recipe_says_so(adapt: bool) -> None:
    before = statistics(load_student(ARCHITECTURE, POINT, CHUNKS))
    model, _ = trained(RECIPE.model_copy(update={"adapt": adapt}))
    assert all(map(np.array_equal, before, statistics(model))) is not adapt


def test_standardised_logits_make_another_student() -> None:
    public = {"public": family().public, "behaviour": BEHAVIOUR}
    plain, _ = trained(**public)
    other, _ = trained(RECIPE.model_copy(update={"standardise": True}), **public)
    assert not np.array_equal(outputs(plain), outputs(other))
