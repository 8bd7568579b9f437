"""Rounds: each result creates the jobs that are needed, in an order the graph accepts."""

import pytest

from benchmarks.makers import STUDENT
from stillhouse import jobs, rounds
from stillhouse.entities import Action, Plan, TrainingRecipe
from stillhouse.errors import IllegalMove, NotFound
from stillhouse.jobs import MOVES, Job, Kind, Move, State


def plan(action: Action, round: int = 1) -> Plan:
    return Plan(
        round=round,
        action=action,
        student=STUDENT,
        chunks=(),
        training=TrainingRecipe(steps=0, seed=0),
        expected_accuracy=0.9,
        expected_accuracy_sd=0.1,
        expected_latency_p95_ms=1,
        chance=0.9,
        why="",
    )


def ids(new: tuple[Job, ...]) -> list[str]:
    return [job.id for job in new]


def test_a_known_calibration_needs_no_probe() -> None:
    assert ids(rounds.first_round(calibrated=False)) == ["probe", "r1.plan"]
    assert ids(rounds.first_round(calibrated=True)) == ["r1.plan"]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action.DELIVER, ["r1.compress"]),
        (Action.TRAIN, ["r1.train", "r1.measure", "r1.decide"]),
        (Action.MEASURE, ["r1.measure", "r1.decide"]),
    ],
)
def test_a_plan_creates_what_it_needs_and_nothing_else(action: Action, expected: list[str]) -> None:
    assert ids(rounds.after_plan(plan(action))) == expected


def test_transfers_form_a_chain_and_training_waits_for_its_chunk_alone() -> None:
    new = {job.id: job for job in rounds.after_manifest(2, chunks=3, train_after=1)}
    assert new["r2.transfer.0"].parents == ("r2.compress",)
    assert new["r2.transfer.2"].parents == ("r2.transfer.1",)
    assert new["r2.train"].parents == ("r2.transfer.1",)
    assert new["r2.measure"].parents == ("r2.train", "r2.transfer.2")
    assert new["r2.decide"].parents == ("r2.measure",)


def test_the_next_round_depends_on_the_measurement_and_the_judgement() -> None:
    [job] = rounds.next_round(finished=3)
    assert (job.id, job.parents) == ("r4.plan", ("r3.measure", "r3.decide"))
    assert (rounds.round_of(job.id), rounds.round_of("probe")) == (4, 0)


def test_a_graph_takes_no_job_twice_and_none_whose_parent_is_missing() -> None:
    graph = jobs.add({}, rounds.opening())
    with pytest.raises(IllegalMove):
        jobs.add(graph, rounds.opening())
    with pytest.raises(NotFound):
        jobs.add(graph, (Job("r1.train", Kind.TRAIN, ("r1.plan",)),))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
def test_what_is_not_in_the_table_cannot_happen(state: State, move: Move) -> None:
    graph = {"it": Job("it", Kind.PLAN, state=state)}
    if (state, move) in MOVES:
        moved = jobs.move(graph, "it", move, "why", 5.0)["it"]
        assert (moved.state, moved.cause, moved.since) == (MOVES[state, move], "why", 5.0)
        assert moved.attempt == (move in (Move.START, Move.OFFER))
    else:
        with pytest.raises(IllegalMove):
            jobs.move(graph, "it", move, "why", 5.0)
    assert graph["it"].state is state


def test_what_is_over_stays_over() -> None:
    assert {(state, move) for state, move in MOVES if state in jobs.OVER} == {
        (State.FAILED, Move.REPLAY)  # by an operator alone
    }
