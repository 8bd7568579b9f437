"""The vault: a version goes from upload to catalogue by its rules alone, whatever is repeated."""

from collections.abc import Mapping
from typing import Any

import pytest

from stillhouse import vault
from stillhouse.commands import Enrol
from stillhouse.decisions import Answer, Effect, Index, NotLoaded, Request
from stillhouse.entities import (
    SYSTEM,
    ArchitectureSpec,
    CentralModel,
    CentralModelSpec,
    FamilyTable,
    Preprocessing,
    Principal,
    Role,
)
from stillhouse.errors import Conflict, Forbidden, Invalid, NotFound, StaleAttempt
from stillhouse.events import ModelAnnounced
from stillhouse.rows import KeyPair
from stillhouse.schedule import MAX_ATTEMPTS
from stillhouse.versions import (
    CompleteFile,
    Evaluated,
    FamilyBuilt,
    Measured,
    RegistrationFailed,
    SetAlias,
    StartUpload,
    VersionState,
    version_key,
)

OWNER = Principal(id="own-00000001-0000000000000001", role=Role.OWNER)
OTHER = Principal(id="own-00000002-0000000000000002", role=Role.OWNER)
CLIENT = Principal(id="cli-00000003-0000000000000003", role=Role.CLIENT)
DIGESTS = {name: f"{i}" * 64 for i, name in enumerate(sorted(vault.FILES))}
SPEC = CentralModelSpec(
    architecture=ArchitectureSpec(id="resnet1d"),
    preprocessing=Preprocessing(window=4, step=2, mean=(0.0,), deviation=(1.0,)),
    labels=("up", "down"),
    files=DIGESTS,
)
MEASURED = Measured(
    accuracy=0.9, accuracy_se=0.02, evaluation_set="a" * 64, size_bytes=600, parameters=150
)
TABLE = FamilyTable(
    family_digest="b" * 64,
    registered_accuracy=0.9,
    registered_accuracy_se=0.02,
    outputs=2,
    rows=(),
    probes=(),
)


class Vault:
    """The rules over a dict, as the store runs them."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.effects: list[Effect] = []
        self.outbox: dict[tuple[str, str], Effect] = {}
        self.events: list[Any] = []

    def do(self, who: Principal, command: Any) -> Answer:
        request = Request("key", "digest", who, command)
        loaded: dict[str, Any] = {key: self.rows.get(key) for key in vault.reads(request)}
        while True:
            try:
                decision = vault.step(loaded, request, 1000.0)
                break
            except NotLoaded as missing:
                loaded.update({key: self.rows.get(key) for key in missing.keys})
        for event in decision.events:
            assert vault.EVENTS.decode(vault.encode_event(event)) == event
            self._apply(vault.evolve(loaded | self.rows, event))
            self._index(event)
        self.events += decision.events
        self.effects += decision.effects
        return decision.answer

    def _apply(self, changes: Mapping[str, Any]) -> None:
        self.rows.update(changes)
        for key, row in changes.items():
            assert vault.decode(key, vault.encode(row)) == row

    def _index(self, event: Any) -> None:
        index = Index()
        vault.index(self.rows, event, index)
        for place, effect in index.outbox.items():
            self.outbox.pop(place, None)
            if effect is not None:
                self.outbox[place] = effect

    @property
    def state(self) -> VersionState:
        state: VersionState = self.rows[version_key("wrist", 1)].state
        return state


def model(version: int = 1) -> CentralModel:
    return CentralModel(
        name="wrist",
        version=version,
        digest="c" * 64,
        owner_id=OWNER.id,
        architecture=SPEC.architecture,
        preprocessing=SPEC.preprocessing,
        labels=SPEC.labels,
        accuracy=0.9,
        accuracy_se=0.02,
        evaluation_set="a" * 64,
        size_bytes=600,
        parameters=150,
        family_digest="b" * 64,
        transfer_inputs="d" * 64,
        transfer_input_bytes=10,
        transfer_input_count=2,
    )


def uploaded() -> Vault:
    it = Vault()
    it.do(OWNER, StartUpload("wrist", SPEC))
    for file, digest in DIGESTS.items():
        it.do(OWNER, CompleteFile("wrist", 1, file, digest))
    return it


def available() -> Vault:
    it = uploaded()
    it.do(SYSTEM, Evaluated("wrist", 1, 1, MEASURED))
    it.do(SYSTEM, FamilyBuilt("wrist", 1, 1, model(), TABLE))
    return it


def test_the_last_file_starts_the_evaluation() -> None:
    it = uploaded()
    assert it.state is VersionState.EVALUATING
    assert it.effects == [Effect("wrist@1", "register", "evaluate", 1)]


def test_a_version_is_announced_only_when_its_family_is_built() -> None:
    it = uploaded()
    it.do(SYSTEM, Evaluated("wrist", 1, 1, MEASURED))
    assert it.state is VersionState.BUILDING
    assert not [event for event in it.events if isinstance(event, ModelAnnounced)]
    it.do(SYSTEM, FamilyBuilt("wrist", 1, 1, model(), TABLE))
    assert it.state is VersionState.AVAILABLE
    assert [event.model for event in it.events if isinstance(event, ModelAnnounced)] == [model()]


def test_the_outbox_holds_the_effect_under_way_and_nothing_else() -> None:
    it = uploaded()
    assert [effect.kind for effect in it.outbox.values()] == ["evaluate"]
    it.do(SYSTEM, Evaluated("wrist", 1, 1, MEASURED))
    assert [effect.kind for effect in it.outbox.values()] == ["build_family"]
    it.do(SYSTEM, FamilyBuilt("wrist", 1, 1, model(), TABLE))
    assert it.outbox == {}


def test_the_measured_accuracy_stands_in_the_owners_document() -> None:
    it = available()
    document = it.rows[version_key("wrist", 1)].document()
    assert document.measured == MEASURED
    assert document.files == dict.fromkeys(DIGESTS, True)


def test_a_file_with_another_digest_is_refused() -> None:
    it = Vault()
    it.do(OWNER, StartUpload("wrist", SPEC))
    with pytest.raises(Invalid, match="weights"):
        it.do(OWNER, CompleteFile("wrist", 1, "weights", "f" * 64))


def test_an_upload_names_its_files_and_may_have_labelled_ones() -> None:
    files = {"weights": "1" * 64}
    with pytest.raises(Invalid, match="evaluation, transfer, weights, and may have training"):
        Vault().do(OWNER, StartUpload("wrist", SPEC.model_copy(update={"files": files})))


def test_another_owner_neither_takes_the_name_nor_sees_the_version() -> None:
    it = available()
    with pytest.raises(Conflict, match="another owner"):
        it.do(OTHER, StartUpload("wrist", SPEC))
    with pytest.raises(NotFound):
        it.do(OTHER, CompleteFile("wrist", 1, "weights", DIGESTS["weights"]))
    with pytest.raises(NotFound):
        it.do(OTHER, SetAlias("wrist", "production", 1))


def test_a_client_may_not_upload() -> None:
    with pytest.raises(Forbidden):
        Vault().do(CLIENT, StartUpload("wrist", SPEC))


def test_a_failed_registration_is_tried_again_and_then_ends() -> None:
    it = uploaded()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert it.state is VersionState.EVALUATING
        it.do(SYSTEM, RegistrationFailed("wrist", 1, attempt, "no memory"))
    assert it.state is VersionState.FAILED
    assert it.outbox == {}
    assert len(it.effects) == MAX_ATTEMPTS


def test_the_result_of_an_old_attempt_is_refused() -> None:
    it = uploaded()
    it.do(SYSTEM, RegistrationFailed("wrist", 1, 1, "no memory"))
    with pytest.raises(StaleAttempt):
        it.do(SYSTEM, Evaluated("wrist", 1, 1, MEASURED))


def test_an_alias_points_to_an_available_version_and_never_shadows_a_number() -> None:
    it = available()
    it.do(OWNER, SetAlias("wrist", "production", 1))
    assert dict(it.rows[vault.name_key("wrist")].aliases) == {"production": 1}
    for alias in ("latest", "7"):
        with pytest.raises(Invalid):
            it.do(OWNER, SetAlias("wrist", alias, 1))
    it.do(OWNER, StartUpload("wrist", SPEC))
    with pytest.raises(Conflict, match="UPLOADING"):
        it.do(OWNER, SetAlias("wrist", "production", 2))


def test_an_owner_enrols_by_the_same_rules_as_a_client() -> None:
    it = Vault()
    keys = KeyPair(1, "ab" * 32, "cd" * 32)
    answer = it.do(
        Principal(id="", role=Role.OWNER),
        Enrol("enr-00000001-0000000000000001", Role.OWNER, keys, (), "ee" * 32, "ff"),
    )
    assert answer.document["principal_id"].startswith("own-")
