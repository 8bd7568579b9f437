"""The live story: every event once, in order, in words, until the job is over."""

import json

from api_house import SPEC, House, Member

from stillhouse.wire.messages import StoryEvent


def finished(device: Member) -> str:
    """A job that is over: cancelled while it waits for its model."""
    profile = device.create_profile(device.id, SPEC)
    job = device.submit(device.id, "wrist", profile.id)
    device.cancel(job.id)
    return job.id


def streamed(device: Member, job_id: str, query: str = "", **headers: str) -> list[dict[str, str]]:
    """The fields of each server-sent event."""
    answer = device.signed("GET", f"/distillation_jobs/{job_id}/events{query}", **headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in answer.text.split("\n\n") if block and block[0] != ":"]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_a_finished_job_tells_its_whole_story_and_ends(house: House) -> None:
    device = house.member("device")
    *events, end = streamed(device, finished(device))
    assert end["event"] == "end"
    read = [StoryEvent.model_validate_json(each["data"]) for each in events]
    assert [each["id"] for each in events] == [str(event.sequence) for event in read]
    assert [each["event"] for each in events] == [event.event for event in read]
    assert next(event.event for event in read) == "JobSubmitted"
    assert read[0].text == "asks for wrist"
    assert (read[-1].event, read[-1].state) == ("JobClosed", "CANCELLED")
    moved = [event for event in read if event.event == "JobMoved"]
    assert (moved[-1].node, moved[-1].state) == ("await_model", "CANCELLED")
    assert device.id in read[-1].text


def test_a_reader_goes_on_behind_the_last_event_it_saw(house: House) -> None:
    device = house.member("device")
    job_id = finished(device)
    whole = streamed(device, job_id)
    for behind in (whole[0]["id"], whole[-2]["id"]):
        rest = streamed(device, job_id, last_event_id=behind)
        assert rest == [each for each in whole if int(each.get("id", 1 << 60)) > int(behind)]
        assert streamed(device, job_id, f"?after={behind}") == rest


def test_the_story_is_its_owners_alone(house: House) -> None:
    ann, bob = house.member("ann"), house.member("bob")
    path = f"/distillation_jobs/{finished(ann)}/events"
    assert bob.signed("GET", path).status_code == 404


def test_what_is_no_sequence_is_refused(house: House) -> None:
    device = house.member("device")
    path = f"/distillation_jobs/{finished(device)}/events"
    for header in ("-1", "first", str(1 << 61)):
        answer = device.signed("GET", path, last_event_id=header)
        assert answer.status_code == 422
        assert json.loads(answer.text)["code"] == "invalid"


def test_why_a_job_is_over_is_kept(house: House) -> None:
    device = house.member("device")
    assert device.status(finished(device)).why == f"cancelled by {device.id}"
