"""`deepspeech serve`: what it says, what it refuses to start with, and how it ends."""

import httpx


def test_it_says_where_it_listens_and_ends_with_0_when_it_is_told_to(make_server, small_model):
    server = make_server("--model", small_model)
    assert server.out.splitlines() == [f"Listening on {server.url}"]
    assert httpx.get(f"{server.url}/live").json() == {"status": "live"}
    assert server.stop() == 0
    assert "max_sessions 64" in server.err and "Model small" in server.err
