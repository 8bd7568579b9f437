"""POST /distillation_jobs?dry_run=true: what a job would begin with, and nothing is created."""

import json
import time

import pytest
from api_house import SPEC, House, Member
from simulated import FAMILY, Device

from benchmarks.makers import model
from stillhouse.brief import calibration_of
from stillhouse.commands import Announce, AnnouncePrior, ReportProbes
from stillhouse.decisions import Request
from stillhouse.entities import SYSTEM, Role, VerdictKind
from stillhouse.errors import ModelAbsent, NotFound
from stillhouse.fleet import FleetPrior
from stillhouse.versions import TableRow, table_key

MODEL = model().model_copy(update={"family_digest": FAMILY.family_digest})


def published(house: House) -> None:
    """The model, as the feed brings it to the shard; its table stands in the vault."""
    house.backend.local.do(Request("", "", SYSTEM, Announce("wrist", model=MODEL)), time.time())
    key = table_key(FAMILY.family_digest)
    house.backend.store._cache[key] = TableRow(FAMILY.family_digest, FAMILY)


def client(house: House) -> tuple[Member, str]:
    member = house.member("watch")
    return member, member.create_profile(member.id, SPEC).id


def test_it_answers_with_a_plan_and_leaves_nothing_behind(house):
    published(house)
    member, profile_id = client(house)
    before = house.backend.journal.events_after(0, 1000)
    found = member.plan_job(member.id, "wrist", profile_id)
    assert found.central_model_version == "wrist@1"
    assert found.plan is not None
    assert found.basis == "host"
    assert found.estimate is not None
    assert found.pareto
    assert member.jobs().jobs == ()
    assert house.backend.journal.events_after(0, 1000) == before
    assert house.backend.effects == []


def test_a_device_that_was_measured_before_is_planned_for_by_its_probes(house):
    published(house)
    member, profile_id = client(house)
    job = member.submit(member.id, "wrist", profile_id)
    probes = Device(slowness=5).probe(FAMILY)
    principal = member.house.backend.shard.rows([member.id])[member.id]
    who = SYSTEM.model_copy(update={"id": member.id, "role": Role.CLIENT})
    answer = house.backend.local.do(Request("", "", who, ReportProbes(job.id, 1, probes)), 1e9)
    assert answer.status == 204
    principal = house.backend.shard.rows([member.id])[member.id]
    assert calibration_of(SPEC, MODEL) in principal.calibrations
    assert member.plan_job(member.id, "wrist", profile_id).basis == "probes"


def test_the_fleets_newest_epoch_is_planned_with(house):
    published(house)
    member, profile_id = client(house)
    prior = FleetPrior(
        family_digest=FAMILY.family_digest,
        epoch=2,
        devices=8,
        reports=8,
        points=(),
        people_sd=0.05,
    )
    for epoch in (2, 1):  # an older one comes late
        announced = AnnouncePrior(prior.model_copy(update={"epoch": epoch}))
        house.backend.local.do(Request("", "", SYSTEM, announced), 1e9)
    found = member.plan_job(member.id, "wrist", profile_id)
    assert (found.basis, found.prior_epoch) == ("fleet", 2)
    assert found.plan.prior_epoch == 2


def test_what_is_infeasible_by_size_is_said_at_once(house):
    published(house)
    member, _ = client(house)
    tiny = member.create_profile(member.id, SPEC.model_copy(update={"storage_bytes": 100}))
    found = member.plan_job(member.id, "wrist", tiny.id)
    assert found.verdict.kind is VerdictKind.INFEASIBLE
    assert found.plan is None


def test_a_model_that_is_not_there_is_a_conflict_of_its_own(house):
    member, profile_id = client(house)
    with pytest.raises(ModelAbsent, match="not there yet"):
        member.plan_job(member.id, "wrist", profile_id)
    body = {
        "client_id": member.id,
        "central_model_version": "wrist",
        "edge_model_profile_id": profile_id,
    }
    answer = member.signed("POST", "/distillation_jobs?dry_run=true", json.dumps(body).encode())
    assert (answer.status_code, answer.json()["code"]) == (409, "model_absent")


def test_unknown_and_foreign_profiles_look_the_same(house):
    published(house)
    member, _ = client(house)
    other, foreign = house.member("other"), None
    foreign = other.create_profile(other.id, SPEC).id
    for profile_id in ("prf-00000000-0000000000000000", foreign):
        with pytest.raises(NotFound):
            member.plan_job(member.id, "wrist", profile_id)
    operator = house.member("operator", Role.OPERATOR)
    with pytest.raises(NotFound):
        operator.plan_job(member.id, "wrist", foreign)
