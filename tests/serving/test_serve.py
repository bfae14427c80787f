"""The real server with the real client: answers, refusals, readiness, the end."""

import base64
import json
import threading
import time
import urllib.request

import openai
import pytest

from chainsight.records import Example
from chainsight.vlm import checkpoint
from chainsight.vlm.asking import ask
from chainsight.vlm.sampling import continue_rows
from chainsight.vlm.template import Row


@pytest.fixture(scope="module")
def world(make_world, student_folder, tmp_path_factory):
    made = make_world(tmp_path_factory.mktemp("serving"), "toy")
    made.register(made.save(student_folder, "one"))
    return made


@pytest.fixture(scope="module")
def server(world, start):
    made = start(world)
    made.wait_for("ready: models:/toy/1")
    return made


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def loaded(student_folder):
    return checkpoint.load(student_folder)


def about(png, text="How many?", colour="red"):
    uri = "data:image/png;base64," + base64.b64encode(png(colour)).decode()
    picture = {"type": "image_url", "image_url": {"url": uri}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": text}]}]


def said(loaded, png, text="How many?", colour="red", **options):
    """What the model itself says to the messages of `about`, as they are."""
    content = [{"type": "image"}, {"type": "text", "text": text}]
    ids = loaded.template.conversation_ids(
        [{"role": "user", "content": content}], (png(colour),), "q"
    )
    ((answer,),) = continue_rows(loaded, [Row("q", ids, (), (png(colour),))], **options)
    return answer, len(ids)


def test_messages_are_answered_as_they_are(client, loaded, png):
    made = client.chat.completions.create(
        model="toy", messages=about(png), temperature=0, max_tokens=6
    )
    answer, num_tokens = said(loaded, png, max_new_tokens=6)
    assert made.choices[0].message.content == answer.text
    assert made.choices[0].finish_reason == ("length" if answer.truncated else "stop")
    assert made.usage.prompt_tokens == num_tokens
    assert made.usage.completion_tokens == answer.num_tokens
    assert (made.model, made.object) == ("toy", "chat.completion")
    assert not hasattr(made.choices[0], "chainsight")


def test_a_conversation_of_several_turns_is_rendered_by_the_checkpoints_template(
    client, loaded, png
):
    turns = [
        {"role": "system", "content": "Be brief."},
        *about(png),
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "Why?<|eot|>"},
    ]
    made = client.chat.completions.create(model="toy", messages=turns, temperature=0, max_tokens=4)

    def text(value):
        return {"type": "text", "text": value}

    ids = loaded.template.conversation_ids(
        [
            {"role": "system", "content": [text("Be brief.")]},
            {"role": "user", "content": [{"type": "image"}, text("How many?")]},
            {"role": "assistant", "content": [text("3")]},
            {"role": "user", "content": [text("Why?< |eot|>")]},
        ],
        (png("red"),),
        "q",
    )
    ((answer,),) = continue_rows(loaded, [Row("q", ids, (), (png("red"),))], max_new_tokens=4)
    assert made.choices[0].message.content == answer.text
    assert made.usage.prompt_tokens == len(ids)


@pytest.mark.parametrize("mode", ["direct", "cot"])
@pytest.mark.parametrize("choices", [None, ["no", "yes"]])
def test_a_mode_asks_as_evaluation_does_and_reads_the_answer(client, loaded, png, mode, choices):
    body = {"mode": mode} | ({"choices": choices} if choices else {})
    made = client.chat.completions.create(model="toy", messages=about(png), extra_body=body)
    example = Example("q", "", "", "How many?", (), "", (png("red"),), tuple(choices or ()) or None)
    longest = 8 if mode == "cot" else 4  # the configuration's own
    (reply,) = ask(loaded, [example], mode, style="paper", max_new_tokens=longest, batch_size=1)
    assert made.choices[0].message.content == reply.text
    assert made.choices[0].chainsight == {
        "answer": reply.reading.value,
        "rationale": reply.rationale,
        "status": reply.reading.status,
        "version": 1,
    }


def test_several_answers_are_drawn_and_a_seed_repeats_them(client, png):
    def draw(**options):
        made = client.chat.completions.create(
            model="toy", messages=about(png), max_tokens=6, n=3, temperature=1.0, **options
        )
        assert [choice.index for choice in made.choices] == [0, 1, 2]
        return [choice.message.content for choice in made.choices]

    first = draw(seed=1)
    assert len(set(first)) > 1
    assert draw(seed=1) == first
    assert draw(seed=2) != first
    assert draw() != draw()


def test_a_stop_text_ends_the_answer(client, loaded, png):
    whole, _ = said(loaded, png, max_new_tokens=8)
    assert len(whole.text) > 2
    made = client.chat.completions.create(
        model="toy", messages=about(png), temperature=0, max_tokens=8, stop=[whole.text[2]]
    )
    cut = whole.text.index(whole.text[2])
    assert made.choices[0].message.content == whole.text[:cut]
    assert made.choices[0].finish_reason == "stop"


def test_a_stream_gives_the_same_text_then_its_end_and_usage(client, loaded, png):
    stream = client.chat.completions.create(
        model="toy", messages=about(png), temperature=0, max_tokens=6, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    answer, num_tokens = said(loaded, png, max_new_tokens=6)
    assert text == answer.text
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    assert chunks[-1].usage.prompt_tokens == num_tokens


def test_the_models_are_the_name_and_the_very_version(client, png):
    listed = {model.id: model for model in client.models.list()}
    assert set(listed) == {"toy", "models:/toy/1"}
    assert listed["toy"].root == "models:/toy/1"
    made = client.chat.completions.create(
        model="models:/toy/1", messages=about(png), max_tokens=1, temperature=0
    )
    assert made.model == "models:/toy/1"


def wrong_url(url):
    picture = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": "?"}]}]


def data(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"model": "gpt-4o"}, openai.NotFoundError, "no model 'gpt-4o'; here are toy and"),
        ({"messages": []}, openai.BadRequestError, "messages: "),
        (
            {"messages": [{"role": "user", "content": "?"}]},
            openai.BadRequestError,
            "0 pictures; this model answers about exactly one",
        ),
        (
            {"messages": wrong_url("https://example.com/a.png")},
            openai.BadRequestError,
            "must be a data URI",
        ),
        ({"messages": wrong_url("data:image/png,abc")}, openai.BadRequestError, "must be base64"),
        ({"messages": wrong_url("data:image/png;base64,*")}, openai.BadRequestError, "no base64"),
        ({"messages": wrong_url(data(b"x"))}, openai.BadRequestError, "not an image"),
        ({"max_tokens": 5000}, openai.BadRequestError, "the model takes 1024"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens: "),
        ({"temperature": 3}, openai.BadRequestError, "temperature: "),
        ({"temperature": 0, "n": 2}, openai.BadRequestError, "n above 1 needs a temperature"),
        ({"extra_body": {"tools": []}}, openai.BadRequestError, "tools: "),
        ({"extra_body": {"mode": "loud"}}, openai.BadRequestError, "mode: "),
        ({"extra_body": {"choices": ["a", "b"]}}, openai.BadRequestError, "choices needs mode"),
    ],
)
def test_a_wrong_request_is_refused_as_openai_refuses(client, png, change, error, named):
    request = {"model": "toy", "messages": about(png), "max_tokens": 2}
    with pytest.raises(error) as caught:
        client.chat.completions.create(**(request | change))
    assert named in caught.value.body["message"]
    assert caught.value.body["type"] == "invalid_request_error"


def test_a_picture_that_breaks_off_is_refused_and_its_neighbours_are_answered(client, png):
    whole = png("red", (64, 64), "RGB")
    with pytest.raises(openai.BadRequestError, match="image_url: image does not decode"):
        client.chat.completions.create(
            model="toy", messages=wrong_url(data(whole[:-40])), max_tokens=2, temperature=0
        )


@pytest.mark.parametrize(
    ("num_bytes", "named"),
    [
        (33 * 2**20, "a request has at most 33554432 bytes"),
        (21 * 2**20, "more than 20971520 bytes"),
    ],
)
def test_too_large_a_body_and_too_large_a_picture_are_413(client, num_bytes, named):
    """A base64 text of 33 MB is too large as a body, one of 28 MB is a picture of 21 MB."""
    text = "A" * (num_bytes if num_bytes > 32 * 2**20 else num_bytes * 4 // 3)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="toy", messages=wrong_url(f"data:image/png;base64,{text}"), max_tokens=1
        )
    assert caught.value.status_code == 413
    assert named in caught.value.body["message"]


def test_what_is_no_json_and_what_is_not_there_end_in_openais_form(server):
    def post(path, body):
        request = urllib.request.Request(server.address + path, data=body, method="POST")
        try:
            urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["error"]["message"]

    assert post("/v1/chat/completions", b"{")[0] == 400
    assert post("/v1/embeddings", b"{}") == (404, "Not Found")


def test_many_at_once_are_answered_as_one_by_one(client, loaded, png):
    colours = ["red", "blue", "green", "black", "white", "grey"]
    found = {}

    def one(colour):
        made = client.chat.completions.create(
            model="toy", messages=about(png, colour=colour), temperature=0, max_tokens=6
        )
        found[colour] = made.choices[0].message.content

    threads = [threading.Thread(target=one, args=[colour]) for colour in colours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for colour in colours:
        assert found[colour] == said(loaded, png, colour=colour, max_new_tokens=6)[0].text


def test_health_and_metrics_say_how_it_is(server, client, png):
    client.chat.completions.create(model="toy", messages=about(png), max_tokens=2, temperature=0)
    assert server.get("/healthz") == (200, "alive\n")
    assert server.get("/readyz") == (200, "ready: models:/toy/1\n")
    status, text = server.get("/metrics")
    assert status == 200
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    name = "chainsight_serving"
    assert float(values[f'{name}_requests_total{{status="200"}}']) >= 1
    assert float(values[f'{name}_tokens_total{{kind="completion"}}']) >= 1
    assert values[f"{name}_ready"] == "1"
    assert values[f'{name}_model_info{{name="toy",version="1"}}'] == "1"
    count = values[f"{name}_request_seconds_count"]
    assert values[f'{name}_request_seconds_bucket{{le="+Inf"}}'] == count


def test_told_to_end_the_server_finishes_what_runs_and_refuses_the_rest(client, server, png):
    """The last test of this server."""
    answers, refusals = [], []

    def ask_for(num_tokens):
        try:
            answers.append(
                client.chat.completions.create(
                    model="toy", messages=about(png), max_tokens=num_tokens, n=16, temperature=2.0
                )
            )
        except openai.InternalServerError as error:
            refusals.append(error.body["code"])

    threads = [threading.Thread(target=ask_for, args=[count]) for count in (800, 700)]
    for thread in threads:  # not alike, so that one has to wait for the other
        thread.start()
    in_a_row = 0
    while in_a_row < 3:
        time.sleep(0.1)
        assert not answers
        in_a_row = (
            in_a_row + 1 if "chainsight_serving_queue 1\n" in server.get("/metrics")[1] else 0
        )
    started = time.monotonic()
    assert server.end() == 0
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 30
    assert [len(made.choices) for made in answers] == [16]
    assert refusals == ["stopping"]
    assert "Traceback" not in "".join(server.log)


@pytest.mark.slow
def test_readiness_needs_a_champion_that_verifies_and_a_promotion_changes_no_running_server(
    make_world, student_folder, start, png, tmp_path
):
    world = make_world(tmp_path, "later")
    server = start(world, CHAINSIGHT_MODEL="models:/later@champion")
    server.wait_for("not ready: .*has no alias 'champion'")
    assert server.get("/healthz")[0] == 200
    status, text = server.get("/readyz")
    assert status == 503
    assert "has no alias" in json.loads(text)["error"]["message"]
    client = openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.InternalServerError, match="not ready"):
        client.models.list()

    uri = world.save(student_folder, "one")
    weights = world.store.fetch(uri) / "model.safetensors"
    sound = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(sound[:-1] + b"x")
    world.register(uri)
    server.wait_for(r"not ready: .*model\.safetensors")
    assert server.get("/readyz")[0] == 503
    weights.write_bytes(sound)
    server.wait_for("ready: models:/later/1")
    assert server.get("/readyz")[0] == 200

    world.register(world.save(student_folder, "two", shift=0.1))
    body = {"mode": "cot"}
    made = client.chat.completions.create(model="later", messages=about(png), extra_body=body)
    assert made.choices[0].chainsight["version"] == 1
    assert server.end() == 0


@pytest.mark.slow
def test_a_server_that_waits_ends_at_once(make_world, start, tmp_path):
    server = start(make_world(tmp_path, "never"))
    server.wait_for("trying again in 30 s", seconds=200)
    started = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - started < 20
