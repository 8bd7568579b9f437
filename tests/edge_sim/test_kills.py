"""A plan of kills is drawn from a seed, and a run without devices that work sees none of them."""

import os

from edge_sim.chaos import MOMENTS, Kill, Victim, own_processes, plan, process, told


def test_each_kind_is_killed_once_at_a_moment_that_the_seed_draws() -> None:
    for seed in range(20):
        planned = plan(seed, devices=9)
        assert [each.victim for each in planned] == list(Victim)
        assert all(1 <= each.count <= 2 for each in planned)
        assert planned == plan(seed, devices=9)
    assert len({plan(seed, devices=9) for seed in range(20)}) > 10


def test_a_moment_does_not_depend_on_which_kinds_are_wanted() -> None:
    [alone] = plan(5, 9, [Victim.DEVICE])
    assert alone in plan(5, 9)


def test_with_few_devices_every_moment_is_the_first() -> None:
    assert {each.count for each in plan(0, devices=2)} == {1}


def test_a_chunk_server_is_killed_during_a_transfer_and_a_worker_while_it_compresses() -> None:
    heard = (
        "probe",
        "r1.transfer.0",
        "r1.train",
        "trained",
        "r1.measure",
        "ray::compress 3 chunks",
    )
    found = {victim: [each for each in heard if MOMENTS[victim].search(each)] for victim in Victim}
    assert found[Victim.CHUNK_SERVER] == ["r1.transfer.0"]
    assert found[Victim.WORKER] == ["ray::compress 3 chunks"]
    assert "probe" not in found[Victim.JOB_MANAGER]


def test_no_process_is_a_victim_that_this_run_did_not_start() -> None:
    assert os.getpid() not in {each.pid for each in own_processes()}
    assert os.getppid() not in {each.pid for each in own_processes()}
    assert process("ray::nothing that runs") is None


def test_the_report_names_each_kill_its_cost_and_whoever_was_spared() -> None:
    back = Kill(victim=Victim.DEVICE, pid=7, moment="r1.train", back_after_s=1.25)
    gone = Kill(victim=Victim.WORKER, pid=8, moment="ray::compress", back_after_s=None)
    assert told([back, gone], [Victim.API_REPLICA], sent_again=1) == [
        "killed device (process 7) at r1.train: back after 1.2 s",
        "killed worker (process 8) at ray::compress: no successor seen",
        "not killed, its moment did not come: api_replica",
        "chunks sent again: 1, kills: 2",
    ]
