"""Slack's own Python SDK as a client of the stand-in: every method that coolops uses, every error that it handles.

Started by `slack_sdk.rs` with the Web API's address, the bot's token, and a token without `chat:write.customize`.
"""

import sys
import time

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

address, token = sys.argv[1], sys.argv[2]
client = WebClient(token=token, base_url=address + "/")
CHANNEL, FOREIGN = "C0DEPLOYS1", "C0RANDOM01"
META = {"event_type": "coolops_build", "event_payload": {"build_id": "b-1"}}


def section(text):
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def refused(error, call, status=200, **arguments):
    try:
        answer = call(**arguments)
    except SlackApiError as e:
        assert e.response["error"] == error, f"{error} was expected, and it is {e.response['error']}"
        assert e.response.status_code == status, e.response.status_code
        return e.response
    raise AssertionError(f"{error} was expected, and it was taken: {answer}")


# Who we are.
me = client.auth_test()
assert me["team_id"].startswith("T") and me["user_id"].startswith("U") and me["bot_id"].startswith("B")
refused("invalid_auth", WebClient(token="xoxb-other", base_url=address + "/").auth_test)

# A message, and what Slack adds to it.
posted = client.chat_postMessage(channel=CHANNEL, text="one", blocks=[section("*one*")], metadata=META)
ts = posted["ts"]
assert posted["channel"] == CHANNEL and posted["message"]["text"] == "one"
assert posted["message"]["app_id"] and posted["message"]["bot_id"] == me["bot_id"] and posted["message"]["team"] == me["team_id"]
assert posted["message"]["blocks"][0]["block_id"]
refused("channel_not_found", client.chat_postMessage, channel="C404", text="x")
refused("not_in_channel", client.chat_postMessage, channel=FOREIGN, text="x")
refused("no_text", client.chat_postMessage, channel=CHANNEL)
refused("missing_scope", client.chat_postMessage, channel=CHANNEL, text="x", username="somebody")
refused("missing_scope", client.chat_postMessage, channel=CHANNEL, text="x", icon_emoji=":ship:")

# Threads.
answer = client.chat_postMessage(channel=CHANNEL, text="in the thread", thread_ts=ts)
assert answer["message"]["thread_ts"] == ts
refused("cannot_reply_to_message", client.chat_postMessage, channel=CHANNEL, text="x", thread_ts="1700000000.000001")
refused("cannot_reply_to_message", client.chat_postMessage, channel=CHANNEL, text="x", thread_ts="nonsense")
listed = client.conversations_history(channel=CHANNEL)["messages"]
assert [m["text"] for m in listed] == ["one"] and listed[0]["reply_count"] == 1
shown = client.chat_postMessage(channel=CHANNEL, text="for all", thread_ts=ts, reply_broadcast=True)
assert [m["text"] for m in client.conversations_history(channel=CHANNEL)["messages"]] == ["for all", "one"]
client.chat_delete(channel=CHANNEL, ts=shown["ts"])
client.chat_delete(channel=CHANNEL, ts=answer["ts"])

# Edits: what is left out is kept.
client.chat_update(channel=CHANNEL, ts=ts, metadata={"event_type": "other", "event_payload": {"n": "2"}})
[one] = client.conversations_history(channel=CHANNEL, include_all_metadata=True)["messages"]
assert one["text"] == "one" and one["blocks"][0]["text"]["text"] == "*one*" and one["edited"]
assert one["metadata"] == {"event_type": "other", "event_payload": {"n": "2"}}
client.chat_update(channel=CHANNEL, ts=ts, text="two", blocks=[section("two")], attachments=[{"color": "good", "blocks": [section("a")]}])
[one] = client.conversations_history(channel=CHANNEL)["messages"]
assert one["text"] == "two" and one["attachments"][0]["id"] == 1 and one["attachments"][0]["fallback"]
assert "event_payload" not in one["metadata"], "the payload is only for who asks"
refused("message_not_found", client.chat_update, channel=CHANNEL, ts="1.0", text="x")
refused("msg_too_long", client.chat_update, channel=CHANNEL, ts=ts, text="x" * 4001)

# What can't be shown, or must not be.
link = {"type": "button", "text": {"type": "plain_text", "text": "b"}, "url": "javascript:alert(1)"}
rich = lambda element: [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [element]}]}]
refused("invalid_blocks", client.chat_postMessage, channel=CHANNEL, text="x", blocks=[{"type": "actions", "elements": [link]}])
refused("invalid_blocks", client.chat_postMessage, channel=CHANNEL, text="x", blocks=[{"type": "rich_text", "elements": [{"type": "what"}]}])
refused("invalid_blocks", client.chat_postMessage, channel=CHANNEL, text="x", blocks=rich({"type": "link", "url": "javascript:alert(1)"}))
refused("invalid_blocks", client.chat_postMessage, channel=CHANNEL, text="x", blocks=rich("garbage"))
refused("invalid_blocks", client.chat_postMessage, channel=CHANNEL, text="x", blocks=[section("x")] * 51)
many = [{"color": "good", "blocks": [section("x"), section("y"), section("z")]}] * 16
refused("invalid_blocks", client.chat_postMessage, channel=CHANNEL, text="x", blocks=[section("x")] * 3, attachments=many)
one_each = [{"color": "good", "blocks": [section("x")]}] * 21
refused("too_many_attachments", client.chat_postMessage, channel=CHANNEL, text="x", attachments=one_each)
refused("invalid_metadata_format", client.chat_postMessage, channel=CHANNEL, text="x", metadata={"event_payload": {}})
assert [m["text"] for m in client.conversations_history(channel=CHANNEL)["messages"]] == ["two"], "nothing refused was kept"

# Looking back: pages, bounds, cursors.
more = [client.chat_postMessage(channel=CHANNEL, text=f"m{n}", blocks=rich({"type": "text", "text": f"m{n}"}), metadata=META)["ts"] for n in range(5)]
pages = [page["messages"] for page in client.conversations_history(channel=CHANNEL, limit=2)]
assert [[m["text"] for m in page] for page in pages] == [["m4", "m3"], ["m2", "m1"], ["m0", "two"]], pages
texts = lambda **a: [m["text"] for m in client.conversations_history(channel=CHANNEL, **a)["messages"]]
assert texts(oldest=more[1], latest=more[3]) == ["m2"]
assert texts(oldest=more[1], latest=more[3], inclusive=True) == ["m3", "m2", "m1"]
for yes in (True, 1, "1", "true"):
    got = client.conversations_history(channel=CHANNEL, limit=1, include_all_metadata=yes)["messages"][0]
    assert got["metadata"]["event_payload"] == {"build_id": "b-1"}, yes
refused("invalid_cursor", client.conversations_history, channel=CHANNEL, cursor="bogus")
refused("invalid_limit", client.conversations_history, channel=CHANNEL, limit=1000)
refused("invalid_ts_oldest", client.conversations_history, channel=CHANNEL, oldest="yesterday")
refused("not_in_channel", client.conversations_history, channel=FOREIGN)
refused("channel_not_found", client.conversations_history, channel="C404")

# For one person alone.
assert client.chat_postEphemeral(channel=CHANNEL, user="U0ANA00001", text="psst")["message_ts"]
refused("user_not_in_channel", client.chat_postEphemeral, channel=CHANNEL, user="U404", text="psst")
assert "psst" not in texts()

info = client.conversations_info(channel=CHANNEL)["channel"]
assert info["name"] == "deploys" and info["is_member"] and not info["is_archived"]
assert not client.conversations_info(channel=FOREIGN)["channel"]["is_member"]
refused("channel_not_found", client.conversations_info, channel="C404")

client.chat_delete(channel=CHANNEL, ts=ts)
refused("message_not_found", client.chat_delete, channel=CHANNEL, ts=ts)

# One post a second into a channel, short bursts aside; after the time that is named it is taken.
taken = 0
while True:
    assert taken < 30, "30 posts in a moment were all taken"
    try:
        client.chat_postMessage(channel=CHANNEL, text=f"fast {taken}")
    except SlackApiError as e:
        assert e.response.status_code == 429 and e.response["error"] == "ratelimited"
        wait = int(e.response.headers["Retry-After"])
        break
    taken += 1
time.sleep(wait)
client.chat_postMessage(channel=CHANNEL, text="slow")
print("all well")
