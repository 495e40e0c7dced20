"""What a request is refused with: a sentence, a code for programs, and the status that HTTP has for it."""

from typing import Any

# code -> status; the codes are those of our own stream, and OPENAI_CODES names those that OpenAI's clients know.
STATUSES = {
    "bad_request": 400,
    "bad_audio": 400,
    "idle": 400,
    "no_key": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_model": 404,
    "method_not_allowed": 405,
    "too_large": 413,
    "too_long": 413,
    "overloaded": 429,
    "internal": 500,
    "not_ready": 503,
    "draining": 503,
    "no_room": 507,
}
OPENAI_CODES = {
    "no_key": "invalid_api_key",
    "unknown_model": "model_not_found",
    "overloaded": "rate_limit_exceeded",
    "not_ready": "model_not_ready",
    "internal": "internal_error",
}


class ServingError(Exception):
    """A request or a session that is refused.

    Args:
        message: what is wrong and what would do; a client sees it.
        code: one of STATUSES.
        retry_after_s: when to come again; None where that would change nothing.
        param: the field of the request that it is about.
    """

    def __init__(self, message: str, code: str, *, retry_after_s: float | None = None, param: str | None = None):
        super().__init__(message)
        self.message, self.code, self.retry_after_s, self.param = message, code, retry_after_s, param
        self.status = STATUSES[code]

    @property
    def headers(self) -> dict[str, str]:
        """What HTTP adds to the status."""
        headers = {} if self.retry_after_s is None else {"Retry-After": f"{max(1, round(self.retry_after_s))}"}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.code == "no_key" else {})

    def as_openai(self) -> dict[str, Any]:
        """In the shape that OpenAI's clients read.

        >>> ServingError("no such field", "bad_request", param="file").as_openai()["error"]["type"]
        'invalid_request_error'
        """
        kind = "invalid_request_error" if self.status < 429 else "server_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        code = OPENAI_CODES.get(self.code, self.code)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": code}}

    def as_hugging_face(self) -> dict[str, Any]:
        """In the shape that Hugging Face's clients read."""
        return {"error": self.message, "code": self.code}
